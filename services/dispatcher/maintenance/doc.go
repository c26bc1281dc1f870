// Package maintenance holds the periodic work that no message waits for:
//
//   - Expirer expires messages that were not emitted in time.
//   - Retention deletes messages that are past their retention.
//   - OrphanSweep deletes attempts whose message is gone.
//   - CountFolder sums up the counts of messages.
//   - Trimmer makes room in EVENTS.
//   - ConsumerRepair restarts consumers that are ahead of their stream.
//
// Each runs in every dispatcher. Where only one may work at a time, a lock in
// Postgres decides which.
package maintenance
