package checker

import (
	"fmt"
	"slices"
)

// emissions are the events that tell of one, in the order in which the server
// stored them: right after the ids themselves.
func (j *judge) emissions() []Event {
	var list []Event
	for _, events := range j.events {
		for _, e := range events {
			if e.Type == "queued" {
				list = append(list, e)
			}
		}
	}
	slices.SortFunc(list, func(a, b Event) int { return a.Stored.Compare(b.Stored) })
	return list
}

// pace: no window as long as the interval holds more emissions than a batch.
func (j *judge) pace() {
	if j.Interval == 0 || j.NoEvents {
		return
	}
	list := j.emissions()
	for i := j.Batch; i < len(list); i++ {
		first, last := list[i-j.Batch], list[i]
		if apart := last.Stored.Sub(first.Stored); apart < j.Interval {
			j.report(OutOfPace, last.Message, fmt.Sprintf("emission %d follows emission %d (of %s) after %s, a batch of %d is due every %s",
				i+1, i-j.Batch+1, first.Message, apart, j.Batch, j.Interval))
		}
	}
}

// stops: nothing is emitted between the answer to a stop and the next start.
func (j *judge) stops() {
	if j.NoEvents {
		return
	}
	for _, e := range j.emissions() {
		for _, stop := range j.Stops {
			if e.Stored.After(stop.From) && e.Stored.Before(stop.Until) {
				j.report(AfterStop, e.Message, fmt.Sprintf("emitted at %s, though stopped from %s to %s", clock(e.Stored), clock(stop.From), clock(stop.Until)))
			}
		}
	}
}
