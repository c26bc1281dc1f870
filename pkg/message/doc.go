// Package message holds the words of the dispatcher: what a message is, the
// states it passes through, which moves lead from one to the next, what a
// valid request looks like and how long a retry waits. It does no I/O.
//
//	            ┌────────────────── retry (by a user) ──────────────────┐
//	            ▼                                                       │
//	accept ─► PENDING ──emit──► QUEUED ───┬─ succeed ─► SENT            │
//	            │                 │       ├─ fail ────► FAILED ─────────┤
//	            │               defer     └─ lapse ───► EXPIRED ────────┤
//	            │                 ▼                       ▲             │
//	            │              RETRYING (the same three)  │             │
//	            ├─── expire ──────────────────────────────┘             │
//	            └─── cancel (from RETRYING too, if parked) ► CANCELLED ─┘
//
// A 2xx that was recorded wins: succeed leads to SENT from every other state.
// Moves is the table that all this comes from, docs/states.md the whole chart.
package message
