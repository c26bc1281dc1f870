// Package messages serves the requests about stored messages: get, list, cancel
// and redrive. HTTP and requests over NATS use the same Service.
package messages
