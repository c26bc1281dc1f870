// Package schedule emits ids at the configured pace.
//
// The Ticker claims messages that are due and publishes their ids on the work
// queue. The Control service starts, stops and configures the pace. All
// dispatchers share one row in Postgres, the schedule; a lock on it decides who
// ticks.
//
//	wait ─► schedule due? ─► limit ─► claim (Postgres) ─► publish (NATS) ─► finish (Postgres)
//	 ▲                                                                        │
//	 └────────────────────────────────────────────────────────────────────────┘
package schedule
