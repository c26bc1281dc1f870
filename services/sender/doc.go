// Package sender takes ids off the work queue and delivers their messages to
// their destination. It writes to no table: what became of a delivery is a status
// event, which the recorder of a dispatcher writes to Postgres.
//
//	work queue ─► pull ─► verify ─► load ─► gate ─► sign ─► attempt ─► classify ─► settle
//	                        │                 │                                      │
//	                        └───── return ────┴─ discard                             └─ status event, then
//	                                                                                    ack, nak or schedule
//
// Each stage is a file; newPipeline shows their order. These rules make it safe
// to have an id twice:
//
//   - The lease of every delivery that is held, waiting or in flight, is extended
//     every 10 s. If that fails, because NATS is away or the process stood still
//     for too long, another sender may have the delivery by now. Then it is neither
//     begun nor returned nor taken off the queue, and its retry is not scheduled.
//     What came of an attempt is published nevertheless.
//   - A request begins only if the lease outlasts the request's timeout.
//   - The gate lets through only a QUEUED or RETRYING row whose claim is not newer
//     than the delivery's. A delivery that is not certainly the first of its claim
//     is judged only once the recorder has passed every event that was stored when
//     it arrived, and once an older delivery that the same sender holds is settled.
//   - A delivery ends only after its status event is acknowledged. If the sender
//     dies in between, the id is delivered once more, and the gate discards it.
//   - At a shutdown, deliveries that have not begun are returned, and only requests
//     in flight are finished.
package sender
