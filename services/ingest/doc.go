// Package ingest receives messages over HTTP and NATS, and serves requests about
// them.
//
//	httpapi  POST /api/v1/messages ────┐
//	natsapi  dispatch.messages.create ─┼─► accept ─► Postgres
//	intake   dispatch.intake.> ────────┘                │ outbox row
//	                                                    ▼
//	                                  EVENTS ◄──── outbox
//
// The three packages on the left share accept, which stores everything that
// arrives while a transaction runs in the next transaction. outbox publishes
// what is committed; after 5 s a dispatcher's relay does it instead. The packages
// messages, erasure and control serve all other requests. Run assembles them.
package ingest
