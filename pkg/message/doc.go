// Package message holds the words of the dispatcher: what a message is, the
// states it passes through, which moves lead from one to the next, what a
// valid request looks like and how long a retry waits. It does no I/O.
//
//	            ┌────────────── retry (by a user) ──────────────┐
//	            ▼                                               │
//	accept ─► PENDING ──emit──► QUEUED ──┬─ succeed ─► SENT     │
//	            │                 │      ├─ fail ────► FAILED ──┤
//	            │               defer    └─ expire ──► EXPIRED ─┤
//	            │                 ▼                             │
//	            │              RETRYING (the same endings) ─────┤
//	            └─── cancel (also while parked) ─► CANCELLED ───┘
package message
