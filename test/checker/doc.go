// Package ledger holds the promises against what happened. It knows nothing
// of how the pipeline works: it records what clients were told, what the
// webhook saw and what was broken when, reads at the end what NATS, Postgres,
// the API and Redis say, by their own plain clients, and compares.
//
//	clients ──told──┐                                  ┌── lost, unfinished, contradicted
//	webhook ──seen──┤                                  ├── doubled
//	rig ────broken──┼──► Record ──► Judge ──► findings ┼── out of pace, after stop
//	EVENTS, rows ───┤                                  ├── events missing
//	API, Redis ─────┘                                  └── left over, miscounted, Redis differs
//
// Each finding comes with the message's whole history.
package checker
