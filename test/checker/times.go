package checker

import (
	"fmt"
	"time"
)

// times: nothing goes out before it is due or after it expired, and nothing
// expires that has time left.
func (j *judge) times() {
	for _, row := range j.Rows {
		op := j.clients[row.Key]
		j.due(row, op)
		for _, a := range j.attempts[row.ID] {
			if _, latest := j.expiries(op, row.ID, a.Started); !latest.IsZero() && a.Started.After(latest.Add(slack)) {
				j.report(TooLate, row.ID, fmt.Sprintf("attempt %d began at %s, it expired at %s", a.Number, clock(a.Started), clock(latest)))
			}
		}
		// A retry that would come after the expiry ends a message before it.
		tried := row.Attempts > row.BudgetStart
		earliest, _ := j.expiries(op, row.ID, row.Updated)
		if row.Status == "EXPIRED" && (earliest.IsZero() || !tried && row.Updated.Before(earliest)) {
			j.report(Contradicted, row.ID, fmt.Sprintf("EXPIRED at %s, and nobody asked for it before %s", clock(row.Updated), clock(earliest)))
		}
	}
}

// due: a retry makes a message due at once, so that its time counts until one
// may have been made.
func (j *judge) due(row Row, op Op) {
	free := func(at time.Time) bool {
		for _, a := range j.userRequestsOf(row.ID) {
			if a.Action == Redrive && a.possible(at) && (a.about(row.ID, "CANCELLED") || a.about(row.ID, "EXPIRED")) {
				return true
			}
		}
		return false
	}
	for _, e := range j.events[row.ID] {
		if e.Type == "queued" && e.Stored.Before(op.DeliverAt) && !free(e.Stored) {
			j.report(TooEarly, row.ID, fmt.Sprintf("emitted at %s, due at %s", clock(e.Stored), clock(op.DeliverAt)))
		}
	}
	for _, r := range j.requests[row.ID] {
		if r.Arrived.Before(op.DeliverAt) && !free(r.Arrived) {
			j.report(TooEarly, row.ID, fmt.Sprintf("attempt %d at %s, due at %s", r.Attempt, clock(r.Arrived), clock(op.DeliverAt)))
		}
	}
}

// expiries are the earliest and the latest time that a message may expire at,
// by what users asked for until then; zero: it may have none. A retry takes an
// expiry away unless it gives one.
func (j *judge) expiries(op Op, id string, by time.Time) (earliest, latest time.Time) {
	earliest, latest = op.ExpiresAt, op.ExpiresAt
	for _, a := range j.userRequestsOf(id) {
		if a.Action != Redrive || !a.possible(by) {
			continue
		}
		if !a.ExpiresAt.IsZero() && (earliest.IsZero() || a.ExpiresAt.Before(earliest)) {
			earliest = a.ExpiresAt
		}
		if a.ExpiresAt.IsZero() || latest.IsZero() {
			latest = time.Time{}
			continue
		}
		latest = maxTime(latest, a.ExpiresAt)
	}
	return earliest, latest
}
