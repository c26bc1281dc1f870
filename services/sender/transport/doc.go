// Package transport defines how a message reaches its destination. The sender
// knows only the interface Transport; package webhook is the first
// implementation, and package transporttest proves the contract.
package transport
