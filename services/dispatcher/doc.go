// Package dispatcher controls the pace and the lifecycle of messages.
//
// All dispatchers are equal. Where only one may act at a time, a row lock in
// Postgres decides which. What one dispatcher leaves unfinished, another one
// finishes.
//
//	                   ┌──────── Postgres ────────┐
//	schedule ─ claims ─┤ schedule  messages outbox├─► outbox relay publishes
//	  │                └───▲──────────▲───────▲───┘   what was left behind
//	  │ publishes ids      │          │       └────── maintenance
//	  ▼                    │          │
//	DELIVERIES ─► sender   │      reclaim ─► lost ids, to the next tick
//	                │   control
//	                ▼
//	EVENTS ──► recorder ─► Postgres
//	CHANGES ─► projector ─► Redis, which nothing waits for
//
// recovery restores what Postgres has lost, from JetStream. Each package below
// this one holds one of these tasks. component holds what they have in common,
// and Run shows how they are put together.
package dispatcher
