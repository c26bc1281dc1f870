// Package ingest takes messages in, over HTTP and NATS, and answers questions
// about them.
//
//	POST /api/v1/messages ────┐
//	dispatch.messages.create ─┼─► useCases ─► committer ─► Postgres
//	dispatch.intake.> ────────┘   (messages.go) (commit.go)   │
//	                                                          ▼
//	                              EVENTS ◄── announcer ◄── outbox row
//
// The three doors share one layer of use cases, and everything that arrives
// while a transaction runs goes into the next one. What is committed is
// announced by the announcer within 5 s, or else by a dispatcher's relay.
package ingest
