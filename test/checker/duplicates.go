package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// repeats: a message is sent again only if the attempt before failed and is on
// record as failed, or if its request was in flight when its sender died or
// was cut off.
func (j *judge) repeats() {
	for id, list := range j.requests {
		// By attempts: one that the network held back arrives after the next.
		list = slices.SortedStableFunc(slices.Values(list), func(a, b Request) int { return cmp.Compare(a.Attempt, b.Attempt) })
		for i := 1; i < len(list); i++ {
			first, second := list[i-1], list[i]
			if !first.succeeded() && second.Attempt > first.Attempt {
				continue // a retry
			}
			excuse := j.excuse(first)
			j.duplicates = append(j.duplicates, Duplicate{first, second, excuse})
			if excuse == "" {
				j.report(Duplicated, id, fmt.Sprintf("attempt %d by %s at %s, though attempt %d by %s was not in flight at a kill or cut",
					second.Attempt, second.Sender, clock(second.Arrived), first.Attempt, first.Sender))
			}
		}
	}
	slices.SortFunc(j.duplicates, func(a, b Duplicate) int { return a.Second.Arrived.Compare(b.Second.Arrived) })
}

// repeated says whether a request of a message was made again.
func (j *judge) repeated(id string) bool {
	return slices.ContainsFunc(j.duplicates, func(d Duplicate) bool { return d.First.ID == id })
}

// slack is what may lie between what happens and its record: a signal and its
// effect, an answer and its arrival.
const slack = 250 * time.Millisecond

// afterwards is how long a client may take to notice that NATS is back.
const afterwards = 5 * time.Second

// excuse says which disturbance hit a request while it was in flight: from its
// beginning until its outcome was published, at the latest until the next request of
// its message. Without one it is empty.
func (j *judge) excuse(r Request) string {
	begun := j.startedAt(r)
	from, to := begun.Add(-slack), j.recordedAt(r).Add(slack)
	for _, d := range j.Disturbances {
		if !d.From.Before(to) || !d.Until.After(from) {
			continue
		}
		switch {
		case d.Target == r.Sender && (d.What == Kill || d.What == Terminate && d.Detail == "cut off"):
			return d.String()
		case d.Target == r.Sender && d.What == Fault && d.Other == "webhook":
			return d.String()
		case d.Target == r.Sender && d.What == Freeze && d.Until.Sub(r.Arrived) >= j.WebhookTimeout-slack:
			return d.String() + ", beyond the webhook's timeout"
		}
	}
	// What comes much later than that was held back by something. (A machine that
	// is overloaded keeps the webhook from reading for a while.)
	inTime := r.Arrived.Sub(begun) < 2*j.WebhookTimeout
	if r.Status != 0 && !r.Done.IsZero() && inTime && r.Done.Sub(begun) >= j.WebhookTimeout-slack {
		return "answered after the webhook's timeout"
	}
	if cut := j.cutOff(r.Sender, from, to); cut >= j.AckWait-afterwards {
		return fmt.Sprintf("its sender was cut off from NATS for %s", cut.Round(time.Millisecond))
	}
	return ""
}

// startedAt is when the attempt began that a request belongs to, by the record of
// its sender, if it says that no answer came: the webhook's timeout counts from
// there, and what a slow way holds back arrives later.
func (j *judge) startedAt(r Request) time.Time {
	for _, a := range j.attempts[r.ID] {
		if a.Number == r.Attempt && a.Status == 0 && a.Started.Before(r.Arrived) {
			return a.Started
		}
	}
	return r.Arrived
}

// recordedAt is when the outcome of a request was recordedAt: when the event that tells
// it was stored. Without such an event it is the message's next request, and
// without that there is no end.
func (j *judge) recordedAt(r Request) time.Time {
	end := r.Arrived.Add(1000 * time.Hour)
	for _, next := range j.requests[r.ID] {
		if next.Arrived.After(r.Arrived) {
			end = next.Arrived
			break
		}
	}
	for _, e := range j.events[r.ID] {
		if e.Attempt == r.Attempt && e.Stored.After(r.Arrived) && e.Stored.Before(end) {
			return e.Stored
		}
	}
	return end
}

// cutOff is how long, within a time, a sender could not reach NATS or was
// not running, all such times taken together.
func (j *judge) cutOff(sender string, from, to time.Time) time.Duration {
	type span struct{ from, to time.Time }
	var spans []span
	for _, d := range j.Disturbances {
		server := strings.HasPrefix(d.Target, "nats")
		link := d.Target == sender && strings.HasPrefix(d.Other, "nats")
		frozen := d.Target == sender && d.What == Freeze
		if !server && !link && !frozen {
			continue
		}
		s := span{maxTime(d.From, from), minTime(d.Until.Add(afterwards), to)}
		if s.from.Before(s.to) {
			spans = append(spans, s)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var sum time.Duration
	var until time.Time
	for _, s := range spans {
		begin := maxTime(s.from, until)
		if s.to.After(begin) {
			sum += s.to.Sub(begin)
			until = s.to
		}
	}
	return sum
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
