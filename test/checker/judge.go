package checker

import (
	"cmp"
	"slices"
	"time"
)

// Promises are what the installation was set to, as far as it is judged.
type Promises struct {
	Interval       time.Duration // 0: no pace
	Batch          int
	AckWait        time.Duration
	WebhookTimeout time.Duration
	MaxRetries     int
	NoEvents       bool // the event stream was lost, and is not judged
	NoRedis        bool
}

// What a finding can be about.
const (
	Lost         = "lost"
	Invented     = "invented"
	Unfinished   = "unfinished"
	Contradicted = "contradicted" // by what the webhook answered
	Duplicated   = "doubled"
	Unrecorded   = "attempt not recorded"
	OutOfPace    = "out of pace"
	AfterStop    = "emitted after stop"
	EventMissing = "event missing"
	EventWrong   = "event wrong"
	LeftOver     = "left over"
	Miscounted   = "miscounted"
	APIDiffers   = "API differs"
	RedisDiffers = "Redis differs"
	TooEarly     = "before it was due"
	TooLate      = "after it expired"
	AfterCancel  = "sent after a cancel"
	Undone       = "told done, and not done"
)

// Finding is a promise that was not kept.
type Finding struct {
	Kind    string
	Message string // id or key; empty when it is about none
	Text    string
	History string // everything known about the message, in time order
}

func (f Finding) String() string {
	text := f.Kind + ": " + f.Text
	if f.Message != "" {
		text = f.Message + " " + text
	}
	if f.History != "" {
		text += "\n" + f.History
	}
	return text
}

// judge holds one record, indexed.
type judge struct {
	Evidence
	Promises
	findings   []Finding
	duplicates []Duplicate

	clients  map[string]Op        // by key
	rejected map[string]bool      // by key, and by the id that it would have had
	gone     map[string]bool      // by id
	row      map[string]Row       // by id
	requests map[string][]Request // by id, in the order of arrival
	attempts map[string][]Attempt
	events   map[string][]Event // by message, each once, in the order of the stream
}

// Duplicate is a request that repeats another, and what excuses it.
type Duplicate struct {
	First, Second Request
	Excuse        string // empty: none
}

// Verdict is what a record comes to.
type Verdict struct {
	Findings   []Finding
	Duplicates []Duplicate // the excused ones too
}

// Judge compares everything with everything. It changes nothing in the record
// and does no I/O.
func Judge(record Evidence, promises Promises) Verdict {
	j := &judge{Evidence: record, Promises: promises}
	j.index()
	for _, check := range []func(){
		j.acceptance, j.rejections, j.endings, j.repeats, j.outcomes, j.budgets,
		j.pace, j.stops, j.userRequests, j.times, j.eventStream, j.leftovers, j.counts, j.views,
	} {
		check()
	}
	return Verdict{Findings: j.findings, Duplicates: j.duplicates}
}

func (j *judge) index() {
	j.clients, j.row = map[string]Op{}, map[string]Row{}
	j.requests, j.attempts, j.events = map[string][]Request{}, map[string][]Attempt{}, map[string][]Event{}
	j.gone = map[string]bool{}
	for _, op := range j.Ops {
		j.clients[op.Key] = op
		if op.Gone {
			j.gone[op.ID] = true
		}
	}
	j.rejected = map[string]bool{}
	for _, r := range j.Rejected {
		j.rejected[r.Key], j.rejected[r.ID] = true, true
	}
	for _, row := range j.Rows {
		j.row[row.ID] = row
	}
	for _, r := range j.Requests {
		j.requests[r.ID] = append(j.requests[r.ID], r)
	}
	for _, list := range j.requests {
		slices.SortFunc(list, func(a, b Request) int { return a.Arrived.Compare(b.Arrived) })
	}
	for _, a := range j.Attempts {
		j.attempts[a.Message] = append(j.attempts[a.Message], a)
	}
	for _, list := range j.attempts {
		slices.SortFunc(list, func(a, b Attempt) int {
			return cmp.Or(cmp.Compare(a.Number, b.Number), a.Started.Compare(b.Started))
		})
	}
	seen := map[string]bool{}
	for _, e := range slices.SortedFunc(slices.Values(j.Events), func(a, b Event) int { return cmp.Compare(a.Position, b.Position) }) {
		if !seen[e.ID] { // delivered at least once: the first counts
			seen[e.ID] = true
			j.events[e.Message] = append(j.events[e.Message], e)
		}
	}
}

// report notes a finding about a message.
func (j *judge) report(kind, id, text string) {
	j.findings = append(j.findings, Finding{Kind: kind, Message: id, Text: text, History: j.timeline(id)})
}

// reportGlobal notes a finding that is about no message.
func (j *judge) reportGlobal(kind, text string) {
	j.findings = append(j.findings, Finding{Kind: kind, Text: text})
}
