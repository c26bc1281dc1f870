package checker

import (
	"slices"
	"sync"
	"time"
)

// Book gathers a Record while things happen. It is safe for concurrent use.
type Book struct {
	mu     sync.Mutex
	record Record
	told   map[string]int
}

// NewBook returns an empty Book.
func NewBook() *Book { return &Book{told: map[string]int{}} }

// Try notes that a client hands in a message; it is unknown until Accept.
func (b *Book) Try(key, via string) { b.TryTimed(Told{Key: key, Via: via}) }

// TryTimed is Try for a message with times of its own.
func (b *Book) TryTimed(told Told) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.told[told.Key]; known {
		return
	}
	told.Tried = time.Now()
	b.told[told.Key] = len(b.record.Told)
	b.record.Told = append(b.record.Told, told)
}

// Accept notes a 201, a 200 or a publish ack, which tells no id, also of a
// repeat.
func (b *Book) Accept(key, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := &b.record.Told[b.told[key]]
	if told.Accepted.IsZero() {
		told.Accepted = time.Now()
	}
	switch {
	case id == "" || id == told.ID:
	case told.ID == "":
		told.ID = id
	default:
		told.Others = append(told.Others, id)
	}
}

// Replace notes that another body was accepted under a key that is taken.
func (b *Book) Replace(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record.Told[b.told[key]].Replaced = true
}

// Refuse notes that a message, or a repeat of one, was refused for good.
func (b *Book) Refuse(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if told := &b.record.Told[b.told[key]]; !told.Accepted.IsZero() {
		told.Refused = time.Now()
	}
}

// Ask notes that a user asks for a move, and returns who to tell the answer.
func (b *Book) Ask(a Asked) (answered func(done bool, moved int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.Tried = time.Now()
	place := len(b.record.Asked)
	b.record.Asked = append(b.record.Asked, a)
	return func(done bool, moved int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		asked := &b.record.Asked[place]
		asked.Answered, asked.Done, asked.Moved = time.Now(), done, moved
	}
}

// ID returns the id that a message was accepted under, as far as it was told.
func (b *Book) ID(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.record.Told[b.told[key]].ID
}

// Last returns what was told of a message that was handed in by some way: the
// last one, or one so many before. It is zero if there are not as many.
func (b *Book) Last(via string, before int) Told {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.record.Told) - 1; i >= 0; i-- {
		if told := b.record.Told[i]; told.Via == via {
			if before--; before < 0 {
				return told
			}
		}
	}
	return Told{}
}

// Known returns the ids of the last messages that were accepted, at most so
// many, the newest first.
func (b *Book) Known(most int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for i := len(b.record.Told) - 1; i >= 0 && len(ids) < most; i-- {
		if id := b.record.Told[i].ID; id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Disturb notes a disturbance that is over.
func (b *Book) Disturb(d Disturbance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record.Disturbances = append(b.record.Disturbances, d)
}

// Stopped notes a time between the answer to a stop and the next start.
func (b *Book) Stopped(from, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record.Stops = append(b.record.Stops, Stop{from, until})
}

// Count says how many messages were handed in, and how many of those were
// accepted.
func (b *Book) Count() (tried, accepted int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, told := range b.record.Told {
		if !told.Accepted.IsZero() {
			accepted++
		}
	}
	return len(b.record.Told), accepted
}

// Record returns what was noted so far.
func (b *Book) Record() Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.record
	r.Told, r.Asked = slices.Clone(r.Told), slices.Clone(r.Asked)
	r.Disturbances, r.Stops = slices.Clone(r.Disturbances), slices.Clone(r.Stops)
	return r
}
