package checker

import (
	"cmp"
	"fmt"
	"slices"
)

// tells is the status that an event's message has then.
var tells = map[string]string{
	"created": "PENDING", "queued": "QUEUED", "attempted": "RETRYING", "sent": "SENT",
	"failed": "FAILED", "cancelled": "CANCELLED", "expired": "EXPIRED",
}

// follows lists what may come after an event; "sent" may come after all, as a
// 2xx that was recorded wins.
var follows = map[string][]string{
	"created":   {"queued", "cancelled", "expired"},
	"queued":    {"queued", "attempted", "failed", "expired"},
	"attempted": {"queued", "attempted", "failed", "expired", "cancelled"},
	"failed":    {"queued", "expired", "cancelled"},
	"cancelled": {"queued", "expired", "cancelled"},
	"expired":   {"queued", "expired", "cancelled"},
}

// eventStream: for every version of every message there is one event, and it
// says what is true.
func (j *judge) eventStream() {
	if j.NoEvents {
		return
	}
	for id, list := range j.events {
		if _, known := j.row[id]; !known && !j.gone[id] && (!j.rejected[id] || len(list) != 1 || list[0].Type != "rejected") {
			j.report(EventWrong, id, "events tell of a message that Postgres does not have")
		}
	}
	for id := range j.rejected {
		if _, key := j.clients[id]; !key && len(j.events[id]) == 0 {
			j.report(EventMissing, id, "no event tells that it was rejected")
		}
	}
	for _, row := range j.Rows {
		j.eventsOf(row)
	}
}

func (j *judge) eventsOf(row Row) {
	bySequence := map[int64][]Event{}
	for _, e := range j.events[row.ID] {
		bySequence[e.Sequence] = append(bySequence[e.Sequence], e)
		if e.Sequence > row.Version || e.Sequence < 1 {
			j.report(EventWrong, row.ID, fmt.Sprintf("%s tells of version %d, the message has %d", e.Type, e.Sequence, row.Version))
		}
		if want := tells[e.Type]; e.Status != want {
			j.report(EventWrong, row.ID, fmt.Sprintf("%s of version %d says %s", e.Type, e.Sequence, e.Status))
		}
	}
	// Two outcomes under one version come from a request that was repeated,
	// and then a 2xx may win over a state that was published before.
	repeated := j.repeated(row.ID)
	for version := int64(1); version <= row.Version; version++ {
		list := bySequence[version]
		if len(list) == 0 && !repeated && !j.isRedrive(row, version) {
			j.report(EventMissing, row.ID, fmt.Sprintf("no event tells of version %d of %d", version, row.Version))
		}
		if len(list) > 1 && !repeated {
			j.report(EventWrong, row.ID, fmt.Sprintf("%d events tell of version %d: %s and %s", len(list), version, list[0].ID, list[1].ID))
		}
	}
	if !repeated {
		j.order(row)
	}
	if list := bySequence[row.Version]; len(list) > 0 && !slices.ContainsFunc(list, func(e Event) bool { return e.Status == row.Status }) {
		j.report(EventWrong, row.ID, fmt.Sprintf("the last event says %s, Postgres says %s", list[0].Status, row.Status))
	}
}

// order: along the sequence, each event is one that may follow the one before.
func (j *judge) order(row Row) {
	list := slices.Clone(j.events[row.ID])
	slices.SortStableFunc(list, func(a, b Event) int { return cmp.Compare(a.Sequence, b.Sequence) })
	var before Event
	for _, e := range list {
		switch {
		case before.Type == "" && e.Type != "created":
			j.report(EventWrong, row.ID, "its first event is "+e.Type)
		case before.Type != "" && e.Type != "sent" && !slices.Contains(follows[before.Type], e.Type):
			j.report(EventWrong, row.ID, e.Type+" follows "+before.Type)
		case final(before.Status) && e.Type != "sent" && e.Sequence < before.Sequence+2:
			j.report(EventWrong, row.ID, e.Type+" follows "+before.Type+" without a retry in between")
		}
		before = e
	}
}
