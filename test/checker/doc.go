// Package checker compares the promises with what happened. It knows nothing of
// how the pipeline works. A History records what clients submitted and were
// answered, and what was broken when. The Evidence adds what the webhook saw, and
// what NATS, Postgres, the API and Redis say in the end, read by plain clients.
//
//	clients ──operations──┐                                    ┌── lost, unfinished, contradicted
//	webhook ──requests────┤                                    ├── duplicated
//	test ────disturbances─┼──► Evidence ──► Judge ──► findings ┼── out of pace, after stop
//	EVENTS, rows ─────────┤                                    ├── events missing
//	API, Redis ───────────┘                                    └── left over, miscounted, Redis differs
//
// Each finding comes with the message's whole timeline.
package checker
