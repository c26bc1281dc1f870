// Package outbox publishes what ingest has committed to the outbox table.
//
// The process that wrote a row publishes it at once. If that takes longer than
// 5 s, or if the process dies, a dispatcher's relay publishes it instead.
package outbox
