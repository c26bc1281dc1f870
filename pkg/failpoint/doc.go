// Package crash gives every gap between two durable steps a name, and kills
// the process there when it is told to.
//
// A durable step is one whose effect outlives the process: a commit in
// Postgres, a message that JetStream has acknowledged, a call that the webhook
// has seen. Between two of them At names the gap:
//
//	store.Commit(…)
//	crash.At(crash.IngestStored)
//	publisher.Publish(…)
//
// In a program built as usual At is empty: the compiler inlines it away, and
// no name is in the binary. Built with the tag failpoints it obeys a plan, the
// file that CRASH_PLAN names. Each line is one death, to be died in order:
//
//	ingest.stored         the first time that the gap is passed
//	ingest.stored:3       the third time in this life
//	sender.ended+100ms    a tenth of a second after, when what was only
//	                      written has reached its server
//
// A death takes its line off the plan before it kills, so the next life goes
// on with the next line, and one that finds no line lives. The plan is read at
// every passing: it may be written while the process runs. CRASH_AT holds one
// line that is never taken off.
package failpoint
