// Package message is the domain of the dispatcher: what a message is, the
// states it passes through, which transitions lead from one to the next, what a
// valid request looks like and how long a retry waits. It does no I/O.
//
//	            ┌──────────────── redrive (by a user) ──────────────────┐
//	            ▼                                                       │
//	accept ─► PENDING ──emit──► QUEUED ───┬─ succeed ─► SENT            │
//	            │                 │       ├─ fail ────► FAILED ─────────┤
//	            │             reschedule  └─ expire ──► EXPIRED ────────┤
//	            │                 ▼                       ▲             │
//	            │              RETRYING (the same three)  │             │
//	            ├─── expire ──────────────────────────────┘             │
//	            └─── cancel (from RETRYING too, if parked) ► CANCELLED ─┘
//
// A 2xx that was recorded wins: succeed leads to SENT from every other state.
// Transitions is the table behind this, and docs/states.md is the complete chart.
package message
