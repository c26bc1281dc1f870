// Package bench measures a whole installation from outside: messages go in
// as a client sends them and are counted where a webhook receives them.
//
//	load ──HTTP or NATS──► ingest ► … ► sender ──HTTP──► receiver
//	  │ when each was to be sent                          │ when each arrived
//	  └───────────────────► latencies ◄───────────────────┘
//
// Latency counts from the moment at which a message was to be sent, not from
// when the load got round to it, so that a system that stalls does not hide
// it (coordinated omission). Messages are told apart by a number in their
// text, so that nothing is asked of the system meanwhile.
//
// A Bench is where is measured: servers that were started for it, or a user's
// own. Each Run has a database, a prefix and services of its own there, and
// leaves nothing behind.
package bench
