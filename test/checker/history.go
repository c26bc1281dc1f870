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
func (h *History) Invoke(key, via string) { h.InvokeOp(Op{Key: key, Via: via}) }

// InvokeOp is Try for a message with times of its own.
func (h *History) InvokeOp(op Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.opIndex[op.Key]; known {
		return
	}
	op.Invoked = time.Now()
	h.opIndex[op.Key] = len(h.evidence.Ops)
	h.evidence.Ops = append(h.evidence.Ops, op)
}

// Accept notes a 201, a 200 or a publish ack, which tells no id, also of a
// repeat.
func (h *History) Accept(key, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	op := &h.evidence.Ops[h.opIndex[key]]
	if op.Accepted.IsZero() {
		op.Accepted = time.Now()
	}
	switch {
	case id == "" || id == op.ID:
	case op.ID == "":
		op.ID = id
	default:
		op.OtherIDs = append(op.OtherIDs, id)
	}
}

// Replace notes that another body was accepted under a key that is taken.
func (h *History) Replace(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evidence.Ops[h.opIndex[key]].Replaced = true
}

// Refuse notes that a message, or a repeat of one, was refused for good.
func (h *History) Refuse(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if op := &h.evidence.Ops[h.opIndex[key]]; !op.Accepted.IsZero() {
		op.Refused = time.Now()
	}
}

// BeginUserRequest notes that a user asks for a move, and returns who to tell the answer.
func (h *History) BeginUserRequest(a UserRequest) (answered func(done bool, moved int)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.Sent = time.Now()
	place := len(h.evidence.UserRequests)
	h.evidence.UserRequests = append(h.evidence.UserRequests, a)
	return func(done bool, moved int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		asked := &h.evidence.UserRequests[place]
		asked.Answered, asked.OK, asked.Count = time.Now(), done, moved
	}
}

// ID returns the id that a message was accepted under, if that is known.
func (h *History) ID(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.evidence.Ops[h.opIndex[key]].ID
}

// LastOp returns what was told of a message that was handed in by some way: the
// last one, or one so many before. It is zero if there are not as many.
func (h *History) LastOp(via string, before int) Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.evidence.Ops) - 1; i >= 0; i-- {
		if op := h.evidence.Ops[i]; op.Via == via {
			if before--; before < 0 {
				return op
			}
		}
	}
	return Op{}
}

// AcceptedIDs returns the ids of the last messages that were accepted, at most so
// many, the newest first.
func (h *History) AcceptedIDs(most int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for i := len(h.evidence.Ops) - 1; i >= 0 && len(ids) < most; i-- {
		if id := h.evidence.Ops[i].ID; id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Disturb notes a disturbance that is over.
func (h *History) Disturb(d Disturbance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evidence.Disturbances = append(h.evidence.Disturbances, d)
}

// Stopped notes a time between the answer to a stop and the next start.
func (h *History) Stopped(from, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evidence.Stops = append(h.evidence.Stops, Stop{from, until})
}

// Count says how many messages were handed in, and how many of those were
// accepted.
func (h *History) Count() (tried, accepted int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.evidence.Ops {
		if !op.Accepted.IsZero() {
			accepted++
		}
	}
	return len(h.evidence.Ops), accepted
}

// Evidence returns what was noted so far.
func (h *History) Evidence() Evidence {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.evidence
	r.Ops, r.UserRequests = slices.Clone(r.Ops), slices.Clone(r.UserRequests)
	r.Disturbances, r.Stops = slices.Clone(r.Disturbances), slices.Clone(r.Stops)
	return r
}
