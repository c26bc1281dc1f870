package checker

import (
	"slices"
	"sync"
	"time"
)

// History gathers a Record while things happen. It is safe for concurrent use.
type History struct {
	mu       sync.Mutex
	evidence Evidence
	opIndex  map[string]int
}

// NewHistory returns an empty Book.
func NewHistory() *History { return &History{opIndex: map[string]int{}} }

// Invoke notes that a client hands in a message; it is unknown until Accept.
func (b *History) Invoke(key, via string) { b.InvokeOp(Op{Key: key, Via: via}) }

// InvokeOp is Try for a message with times of its own.
func (b *History) InvokeOp(told Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.opIndex[told.Key]; known {
		return
	}
	told.Invoked = time.Now()
	b.opIndex[told.Key] = len(b.evidence.Ops)
	b.evidence.Ops = append(b.evidence.Ops, told)
}

// Accept notes a 201, a 200 or a publish ack, which tells no id, also of a
// repeat.
func (b *History) Accept(key, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := &b.evidence.Ops[b.opIndex[key]]
	if told.Accepted.IsZero() {
		told.Accepted = time.Now()
	}
	switch {
	case id == "" || id == told.ID:
	case told.ID == "":
		told.ID = id
	default:
		told.OtherIDs = append(told.OtherIDs, id)
	}
}

// Replace notes that another body was accepted under a key that is taken.
func (b *History) Replace(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.evidence.Ops[b.opIndex[key]].Replaced = true
}

// Refuse notes that a message, or a repeat of one, was refused for good.
func (b *History) Refuse(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if told := &b.evidence.Ops[b.opIndex[key]]; !told.Accepted.IsZero() {
		told.Refused = time.Now()
	}
}

// BeginUserRequest notes that a user asks for a move, and returns who to tell the answer.
func (b *History) BeginUserRequest(a UserRequest) (answered func(done bool, moved int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.Sent = time.Now()
	place := len(b.evidence.UserRequests)
	b.evidence.UserRequests = append(b.evidence.UserRequests, a)
	return func(done bool, moved int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		asked := &b.evidence.UserRequests[place]
		asked.Answered, asked.OK, asked.Count = time.Now(), done, moved
	}
}

// ID returns the id that a message was accepted under, as far as it was told.
func (b *History) ID(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.evidence.Ops[b.opIndex[key]].ID
}

// LastOp returns what was told of a message that was handed in by some way: the
// last one, or one so many before. It is zero if there are not as many.
func (b *History) LastOp(via string, before int) Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.evidence.Ops) - 1; i >= 0; i-- {
		if told := b.evidence.Ops[i]; told.Via == via {
			if before--; before < 0 {
				return told
			}
		}
	}
	return Op{}
}

// AcceptedIDs returns the ids of the last messages that were accepted, at most so
// many, the newest first.
func (b *History) AcceptedIDs(most int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for i := len(b.evidence.Ops) - 1; i >= 0 && len(ids) < most; i-- {
		if id := b.evidence.Ops[i].ID; id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Disturb notes a disturbance that is over.
func (b *History) Disturb(d Disturbance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.evidence.Disturbances = append(b.evidence.Disturbances, d)
}

// Stopped notes a time between the answer to a stop and the next start.
func (b *History) Stopped(from, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.evidence.Stops = append(b.evidence.Stops, Stop{from, until})
}

// Count says how many messages were handed in, and how many of those were
// accepted.
func (b *History) Count() (tried, accepted int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, told := range b.evidence.Ops {
		if !told.Accepted.IsZero() {
			accepted++
		}
	}
	return len(b.evidence.Ops), accepted
}

// Evidence returns what was noted so far.
func (b *History) Evidence() Evidence {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.evidence
	r.Ops, r.UserRequests = slices.Clone(r.Ops), slices.Clone(r.UserRequests)
	r.Disturbances, r.Stops = slices.Clone(r.Disturbances), slices.Clone(r.Stops)
	return r
}
