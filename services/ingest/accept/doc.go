// Package accept validates messages and stores them.
//
//	Acceptor ──► Committer ──► Postgres: messages + outbox row
//	(accept.go)  (committer.go)      │
//	                                 ▼
//	                           outbox.Publisher ──► EVENTS, DELIVERIES
//
// HTTP, requests over NATS and the intake stream use the same Acceptor. The
// committer stores everything that arrives while a transaction runs in the next
// transaction. In the continuous mode that transaction also claims and emits
// the messages, if no other message is waiting (fastpath.go).
package accept
