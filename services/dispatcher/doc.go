// Package dispatcher owns the pace and the lifecycle of messages. Every
// instance is equal: what must be done by one at a time is decided by a row
// lock in Postgres, and whatever one leaves undone another one finishes.
//
//	                  ┌────────── Postgres ──────────┐
//	tick     claims ──┤ schedule   messages   outbox ├── relay  publishes what
//	  │               └───▲───────────▲──────▲───────┘     │   was left behind
//	  │ publishes         │           │      │             │
//	  ▼                   │           │      └── expiry    ▼
//	DELIVERIES ─► sender  │           └───────── leases ─► lost ids, to the tick
//	                 │    └── control: start, stop, configure
//	                 ▼
//	EVENTS ─► recorder ─► Postgres
//	       └► copier ───► Redis, which is never waited for
package dispatcher
