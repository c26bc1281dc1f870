package checker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/checker"
)

// wishes is the truth in which users had wishes: one message was called back
// before it was due, one failed and was brought back, one was called back and
// brought back with all that were, and one expired.
func wishes() checker.Evidence {
	r := truth()
	for _, op := range []checker.Op{
		{Key: "k5", ID: "five", DeliverAt: at(60)},
		{Key: "k6", ID: "six"},
		{Key: "k7", ID: "seven", DeliverAt: at(60)},
		{Key: "k8", ID: "eight", ExpiresAt: at(50)},
	} {
		op.Via, op.Invoked, op.Accepted = "http", at(0), at(0.1)
		r.Ops = append(r.Ops, op)
		tell(&r, op.ID, "created", 1, "PENDING", 0, 0.1)
	}
	// One was published so late that it had expired when the stream had it.
	r.Ops = append(r.Ops, checker.Op{Key: "k10", Via: "nats", ExpiresAt: at(0.05), Invoked: at(0), Accepted: at(0.1)})
	r.Rejected = []checker.Rejected{{ID: "ten", Key: "k10", Code: "invalid", Stored: at(0.2)}}
	r.Events = append([]checker.Event{{Stored: at(0.2), ID: "ten.rejected", Type: "rejected", Message: "ten", Sequence: 1}}, r.Events...)
	// One was sent, and then erased.
	r.Ops = append(r.Ops, checker.Op{Key: "k11", ID: "eleven", Via: "http", Gone: true, Invoked: at(0), Accepted: at(0.1)})
	r.Requests = append(r.Requests, request("eleven", "k11", 1, 19, 202))
	tell(&r, "eleven", "created", 1, "PENDING", 0, 0.1)
	r.UserRequests = []checker.UserRequest{
		{Action: checker.Cancel, ID: "five", Sent: at(40), Answered: at(40.1), OK: true},
		{Action: checker.Redrive, ID: "six", Sent: at(62), Answered: at(62.1), OK: true},
		{Action: checker.Cancel, ID: "seven", Sent: at(40), Answered: at(40.1), OK: true},
		{Action: checker.Redrive, Statuses: []string{"CANCELLED"}, Sent: at(82), Answered: at(82.1), OK: true, Count: 1},
		{Action: checker.Cancel, ID: "five", Sent: at(83), Answered: at(83.1)}, // no: it is already
		{Action: checker.Redrive, ID: "one", Sent: at(83)},                     // never answered, and not done
	}
	tell(&r, "five", "cancelled", 2, "CANCELLED", 0, 40)
	tell(&r, "seven", "cancelled", 2, "CANCELLED", 0, 40)
	tell(&r, "eight", "expired", 2, "EXPIRED", 0, 50.2)
	tell(&r, "six", "queued", 2, "QUEUED", 0, 60)
	tell(&r, "six", "failed", 3, "FAILED", 1, 61.2)
	tell(&r, "six", "queued", 5, "QUEUED", 1, 70)
	tell(&r, "six", "sent", 6, "SENT", 2, 71.2)
	tell(&r, "seven", "queued", 4, "QUEUED", 0, 90)
	tell(&r, "seven", "sent", 5, "SENT", 1, 91.2)
	// The bulk retry takes what is cancelled by then: that is seven, since five
	// has another destination.
	r.Requests = append(r.Requests, request("six", "k6", 1, 61, 400), request("six", "k6", 2, 71, 202), request("seven", "k7", 1, 91, 202))
	r.Attempts = append(r.Attempts, attempt("six", 1, 61, 400), attempt("six", 2, 71, 202), attempt("seven", 1, 91, 202))
	for _, row := range []checker.Row{
		row("five", "k5", "CANCELLED", 2, 0), row("six", "k6", "SENT", 6, 2), row("seven", "k7", "SENT", 5, 1), row("eight", "k8", "EXPIRED", 2, 0),
	} {
		row.Updated = at(100)
		r.Rows = append(r.Rows, row)
		r.API[row.ID] = checker.View{ID: row.ID, Status: row.Status, Attempts: row.Attempts}
		r.Redis[row.ID] = checker.View{ID: row.ID, Status: row.Status, Version: row.Version}
	}
	r.Counted = map[string]int64{"SENT": 4, "FAILED": 1, "CANCELLED": 1, "EXPIRED": 1}
	r.Kept, r.APICounts, r.RedisCounts = r.Counted, r.Counted, r.Counted
	return r
}

func TestWhatUsersWishedAndGotIsNotComplainedAbout(t *testing.T) {
	t.Parallel()
	verdict := checker.Judge(wishes(), promises)
	require.Empty(t, verdict.Findings)
	require.Empty(t, verdict.Duplicates)
}

// TestEveryLieToAUserIsFound spoils one thing at a time.
func TestEveryLieToAUserIsFound(t *testing.T) {
	t.Parallel()
	// without leaves one of the wishes out.
	without := func(r *checker.Evidence, place int) {
		r.UserRequests = append(r.UserRequests[:place:place], r.UserRequests[place+1:]...)
	}
	for name, lie := range map[string]struct {
		kind  string
		spoil func(r *checker.Evidence)
	}{
		"a repeat told of another message":      {checker.Lost, func(r *checker.Evidence) { r.Ops[0].OtherIDs = []string{"other"} }},
		"another body taken under the same key": {checker.Contradicted, func(r *checker.Evidence) { r.Ops[0].Replaced = true }},
		"accepted, and put aside": {checker.Lost, func(r *checker.Evidence) {
			r.Rejected = append(r.Rejected, checker.Rejected{Key: "k2", Stored: at(3)})
		}},
		"put aside, and stored": {checker.Contradicted, func(r *checker.Evidence) {
			r.Ops[1].ExpiresAt = at(2.9)
			r.Rejected = append(r.Rejected, checker.Rejected{Key: "k2", Stored: at(3)})
		}},
		"put aside, and not told":       {checker.EventMissing, func(r *checker.Evidence) { r.Events = r.Events[1:] }},
		"gone, and still there":         {checker.Contradicted, func(r *checker.Evidence) { r.Ops[0].Gone = true }},
		"gone, and Redis knows of it":   {checker.RedisDiffers, func(r *checker.Evidence) { r.Ops[0].Gone = true; r.Rows = r.Rows[1:] }},
		"a repeat refused":              {checker.Contradicted, func(r *checker.Evidence) { r.Ops[0].Refused = at(3) }},
		"a cancel of what is not there": {checker.Lost, func(r *checker.Evidence) { r.UserRequests[0].ID = "nine" }},
		"called back, and sent all the same": {checker.AfterCancel, func(r *checker.Evidence) {
			r.Requests = append(r.Requests, request("five", "k5", 1, 60, 202))
		}},
		"called back, and expired": {checker.Undone, func(r *checker.Evidence) { r.Rows[3].Status = "EXPIRED"; without(r, 3) }},
		"a cancel without an event": {checker.Undone, func(r *checker.Evidence) {
			r.UserRequests = append(r.UserRequests, r.UserRequests[0])
		}},
		"cancelled though the answer was no":    {checker.Contradicted, func(r *checker.Evidence) { r.UserRequests[0].OK = false }},
		"cancelled though nobody asked":         {checker.Contradicted, func(r *checker.Evidence) { without(r, 0) }},
		"cancelled before somebody asked":       {checker.Contradicted, func(r *checker.Evidence) { r.UserRequests[0].Sent = at(101) }},
		"brought back though the answer was no": {checker.Contradicted, func(r *checker.Evidence) { r.UserRequests[1].OK = false; without(r, 3) }},
		"brought back though nobody asked":      {checker.Contradicted, func(r *checker.Evidence) { without(r, 3); without(r, 1) }},
		"told to be brought back, and was not": {checker.Undone, func(r *checker.Evidence) {
			r.UserRequests[5] = checker.UserRequest{Action: checker.Redrive, ID: "three", Sent: at(83), Answered: at(84), OK: true}
		}},
		"a bulk retry that told of too many":   {checker.Undone, func(r *checker.Evidence) { r.UserRequests[3].Count = 2 }},
		"an end that was left without a retry": {checker.EventWrong, func(r *checker.Evidence) { r.Events[len(r.Events)-4].Sequence = 4 }},
		"a version of a sent message missing":  {checker.EventMissing, func(r *checker.Evidence) { r.Rows[0].Version = 4 }},
		"emitted before it was due":            {checker.TooEarly, func(r *checker.Evidence) { r.Ops[1].DeliverAt = at(1.5) }},
		"sent before it was due":               {checker.TooEarly, func(r *checker.Evidence) { r.Ops[1].DeliverAt = at(2.5) }},
		"sent after it expired":                {checker.TooLate, func(r *checker.Evidence) { r.Ops[0].ExpiresAt = at(1.5) }},
		"sent after the expiry of its own retry": {checker.TooLate, func(r *checker.Evidence) {
			r.Ops[5].ExpiresAt, r.UserRequests[1].ExpiresAt = at(65), at(70)
			without(r, 3)
		}},
		"expired with time left":                  {checker.Contradicted, func(r *checker.Evidence) { r.Ops[7].ExpiresAt = at(101) }},
		"expired though it has no time to end at": {checker.Contradicted, func(r *checker.Evidence) { r.Ops[7].ExpiresAt = time.Time{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := wishes()
			lie.spoil(&record)
			verdict := checker.Judge(record, promises)
			var kinds []string
			for _, finding := range verdict.Findings {
				kinds = append(kinds, finding.Kind)
			}
			require.Contains(t, kinds, lie.kind)
		})
	}
}

// TestWhatWasNeverAnsweredMayHaveHappened: only what was said binds.
func TestWhatWasNeverAnsweredMayHaveHappened(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *checker.Evidence){
		"a cancel": func(r *checker.Evidence) { r.UserRequests[0].Answered, r.UserRequests[0].OK = time.Time{}, false },
		"a retry":  func(r *checker.Evidence) { r.UserRequests[1].Answered, r.UserRequests[1].OK = time.Time{}, false },
		"a bulk retry": func(r *checker.Evidence) {
			r.UserRequests[3].Answered, r.UserRequests[3].OK, r.UserRequests[3].Count = time.Time{}, false, 0
		},
		"of many":       func(r *checker.Evidence) { r.UserRequests[3].Count = 0 },
		"a late answer": func(r *checker.Evidence) { r.UserRequests[1].Answered = at(99) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := wishes()
			change(&record)
			require.Empty(t, checker.Judge(record, promises).Findings)
		})
	}
}
