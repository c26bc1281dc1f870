package checker

import (
	"fmt"
	"time"
)

// userRequests: what users were answered is what happened to the messages that they called
// back or brought back, and nothing happened that nobody asked for.
func (j *judge) userRequests() {
	if j.NoEvents {
		return
	}
	redriven, confirmed := 0, 0
	for _, row := range j.Rows {
		retries := j.countRedrives(row)
		redriven += retries
		j.checkCancels(row)
		j.checkRedrives(row, retries)
	}
	for _, a := range j.UserRequests {
		switch {
		case a.ID != "" && j.row[a.ID].ID == "" && !j.gone[a.ID]:
			j.report(Lost, a.ID, fmt.Sprintf("a user asked for a %s of it, and it is not in Postgres", a.Action))
		case a.Action == Redrive && a.ID != "" && a.OK:
			redriven--
		case a.Action == Redrive && a.ID == "":
			confirmed += a.Count
		}
	}
	if redriven < confirmed {
		j.reportGlobal(Undone, fmt.Sprintf("bulk retries told of %d messages that they brought back, and it was %d", confirmed, redriven))
	}
}

// countRedrives counts the versions of a message that no event tells of and that
// follow an end: a retry publishes none.
func (j *judge) countRedrives(row Row) int {
	count := 0
	for version := int64(2); version <= row.Version; version++ {
		if j.isRedrive(row, version) {
			count++
		}
	}
	return count
}

// isRedrive says whether a version can only have come from a retry.
func (j *judge) isRedrive(row Row, version int64) bool {
	ended := false
	for _, e := range j.events[row.ID] {
		if e.Sequence == version {
			return false
		}
		ended = ended || e.Sequence == version-1 && final(e.Status) && e.Status != "SENT"
	}
	return ended
}

// checkRedrives: a redrive that was confirmed was made, and
// nobody else does it.
func (j *judge) checkRedrives(row Row, count int) {
	confirmed, possible := 0, 0
	for _, a := range j.UserRequests {
		if a.Action != Redrive || a.ID != row.ID && a.ID != "" {
			continue
		}
		if a.ID == row.ID && a.OK {
			confirmed++
		}
		if a.possible(row.Updated.Add(slack)) {
			possible++
		}
	}
	if count < confirmed {
		j.report(Undone, row.ID, fmt.Sprintf("%d retries were answered with a yes, %d were made", confirmed, count))
	}
	if count > possible && !j.repeated(row.ID) {
		j.report(Contradicted, row.ID, fmt.Sprintf("brought back %d times, and %d retries may have done it", count, possible))
	}
}

// checkCancels: a message that was called back is, until somebody brings it back,
// and no new attempt is made meanwhile.
func (j *judge) checkCancels(row Row) {
	confirmed, possible := 0, 0
	for _, a := range j.UserRequests {
		if a.Action != Cancel || a.ID != row.ID {
			continue
		}
		if a.possible(row.Updated.Add(slack)) {
			possible++
		}
		if a.OK {
			confirmed++
			j.checkCancelled(row, a)
		}
	}
	versions := map[int64]bool{}
	for _, e := range j.events[row.ID] {
		if e.Type == "cancelled" {
			versions[e.Sequence] = true
		}
	}
	if len(versions) < confirmed {
		j.report(Undone, row.ID, fmt.Sprintf("%d cancels were answered with a yes, %d were made", confirmed, len(versions)))
	}
	if len(versions) > possible || row.Status == "CANCELLED" && possible == 0 {
		j.report(Contradicted, row.ID, fmt.Sprintf("cancelled %d times, and %d users may have done it", len(versions), possible))
	}
}

func (j *judge) checkCancelled(row Row, a UserRequest) {
	again := j.redrivenAfter(row.ID, a)
	if again.IsZero() && row.Status != "CANCELLED" && row.Status != "SENT" {
		j.report(Undone, row.ID, fmt.Sprintf("a cancel was answered with a yes at %s, and it is %s", clock(a.Answered), row.Status))
	}
	before := 0 // the last attempt by then: its request may still be on its way
	for _, e := range j.events[row.ID] {
		if e.Stored.Before(a.Answered) {
			before = max(before, e.Attempt)
		}
	}
	for _, r := range j.requests[row.ID] {
		if r.Attempt > before && r.Arrived.After(a.Answered) && (again.IsZero() || r.Arrived.Before(again)) {
			j.report(AfterCancel, row.ID, fmt.Sprintf("attempt %d by %s, though a cancel was answered with a yes at %s", r.Attempt, r.Sender, clock(a.Answered)))
		}
	}
}

// redrivenAfter is when a retry was first asked for that may have come after a
// cancel; zero: never.
func (j *judge) redrivenAfter(id string, a UserRequest) time.Time {
	var first time.Time
	for _, r := range j.UserRequests {
		later := r.Answered.IsZero() || r.OK && r.Answered.After(a.Sent)
		if r.Action == Redrive && later && r.about(id, "CANCELLED") && (first.IsZero() || r.Sent.Before(first)) {
			first = r.Sent
		}
	}
	return first
}
