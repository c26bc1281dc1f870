// Package sender takes ids off the work queue and delivers their messages to
// the webhook. It writes to no table: what became of a delivery is a status
// event, which the recorder of a dispatcher writes to Postgres.
//
//	DELIVERIES ──► pull ──┬─ certainly first ─────────────► load ──┐
//	                      │                                        ├─► attempt ─► answer ─► finish
//	                      └─ doubtful ─► recorder has caught up ─► load ──┘                     │
//	                                                               │                            ├─ status event, acked
//	                                            not worth sending ─┴─► ack                      └─ then ack, nak or schedule
//
// A step is a file: pull.go, load.go, attempt.go, answer.go, conflict.go,
// outcome.go, finish.go. transport.go, http1.go and conn.go are the way to the
// webhook. What makes it safe to have an id twice:
//
//   - Every copy in hand, waiting or in flight, gets a sign of life every 10 s
//     (hand.go). One that could not be kept, because NATS was away or the
//     process stood still for too long, may be with another sender by now: it
//     is neither begun nor given back, nor taken off the queue, and its retry
//     is not parked. What came of an attempt is still told.
//   - A request begins only if the copy is held for longer than it may take.
//   - load.go is the gate. Only a QUEUED or RETRYING row whose claim is not
//     newer than the copy's is sent. A copy that is not certainly the first of
//     its claim is judged only once the recorder has passed every event that
//     was stored when it came, and once an older copy in the same hands is
//     finished.
//   - A delivery ends only after its status event is acknowledged: an id whose
//     sender dies in between is delivered once more, and the gate drops it.
//   - At a shutdown what is not begun is given back, and only requests in
//     flight are finished.
package sender
