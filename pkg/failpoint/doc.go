// Package failpoint names every gap between two durable steps, so that a test
// can kill a process exactly there.
//
// The effect of a durable step outlives the process: a commit in Postgres, a
// message that JetStream has acknowledged, a request that the webhook has seen.
// At names the gap between two of them:
//
//	store.Commit(…)
//	failpoint.At(failpoint.IngestStored)
//	publisher.Publish(…)
//
// In a normal build At is empty: the compiler removes it, and the binary holds
// no name. A build with the tag failpoints follows a plan, the file that
// FAILPOINT_PLAN names. Each line is one kill, in order:
//
//	ingest.stored         the first time that the gap is passed
//	ingest.stored:3       the third time in this process
//	sender.ended+100ms    a tenth of a second later, when the server has
//	                      received what was written
//
// A kill removes its line from the plan first, so the next process continues
// with the next line, and a process without a line lives. The plan is read each
// time a gap is passed, so it may be written while the process runs.
// FAILPOINT_AT holds one line that is never removed.
package failpoint
