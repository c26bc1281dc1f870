package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// clock writes a time of day.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// timeline tells everything that is known about a message, in time order. id
// may be a key, of a message that never came to be.
func (j *judge) timeline(id string) string {
	if id == "" {
		return ""
	}
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		if !at.IsZero() {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	row := j.row[id]
	for _, op := range j.Ops {
		if op.ID == id || op.Key == id || row.Key != "" && op.Key == row.Key {
			add(op.Invoked, "client   hands in %s by %s", op.Key, op.Via)
			add(op.Accepted, "client   is told that it is accepted %s", op.ID)
		}
	}
	j.addRequests(id, add)
	senders := map[string]bool{"nats": true}
	for _, r := range j.requests[id] {
		senders[r.Sender] = true
		add(r.Arrived, "webhook  is sent attempt %d by %s", r.Attempt, r.Sender)
		add(r.Done, "webhook  has answered %d to attempt %d by %s (written: %t)", r.Status, r.Attempt, r.Sender, r.Written)
	}
	for _, e := range j.events[id] {
		add(e.Stored, "event    %s: version %d, %s, claim %d, attempt %d, delivery %d (%s)", e.Type, e.Sequence, e.Status, e.Claim, e.Attempt, e.Delivery, e.ID)
	}
	for _, a := range j.attempts[id] {
		add(a.Started, "postgres attempt %d begins: claim %d, delivery %d: %d %s %s", a.Number, a.Claim, a.Delivery, a.Status, a.Outcome, a.Error)
	}
	if row.ID != "" {
		add(row.Created, "postgres created")
		add(row.Updated, "postgres %s, version %d, claim %d, %d attempts, %d claims without outcome: %s", row.Status, row.Version, row.Claim, row.Attempts, row.ClaimsWithoutOutcome, row.LastError)
	}
	if len(lines) == 0 {
		return ""
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	from, to := lines[0].at, lines[len(lines)-1].at
	for _, d := range j.Disturbances {
		if (senders[d.Target] || strings.HasPrefix(d.Target, "dispatcher") || d.Target == "postgres") && d.From.Before(to) && d.Until.After(from) {
			add(d.From, "chaos    %s", d)
		}
	}
	for _, a := range j.userRequestsOf(id) {
		if a.ID == "" && a.Sent.After(from) && a.Sent.Before(to) {
			add(a.Sent, "user     asks for a %s", a)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "    %s  %s\n", clock(l.at), l.text)
	}
	if held, there := j.Redis[id]; there {
		fmt.Fprintf(&text, "    Redis says %s, version %d\n", held.Status, held.Version)
	}
	if held, there := j.API[id]; there {
		fmt.Fprintf(&text, "    the API says %s, %d attempts\n", held.Status, held.Attempts)
	}
	return strings.TrimRight(text.String(), "\n")
}

// addRequests adds what users asked of a message, and that its entry was put aside.
func (j *judge) addRequests(id string, add func(time.Time, string, ...any)) {
	for _, a := range j.userRequestsOf(id) {
		if a.ID == id {
			add(a.Sent, "user     asks for a %s", a)
		}
	}
	for _, r := range j.Rejected {
		if r.ID == id || r.Key == id {
			add(r.Stored, "nats     has it put aside as %s", r.Code)
		}
	}
}
