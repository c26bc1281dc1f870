// Package bench measures a whole installation from outside: messages go in
// as a client sends them and are counted where a webhook receives them.
//
//	load ──HTTP or NATS──► ingest ► … ► sender ──HTTP──► receiver
//	  │ when each was to be sent                          │ when each arrived
//	  └───────────────────► latencies ◄───────────────────┘
//
// Latency counts from the moment at which a message was to be sent, not from
// when the load got round to it, so that a system that stalls does not hide
// it (coordinated omission).
package bench
