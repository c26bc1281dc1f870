// Package inflight keeps account of the deliveries that a sender holds, from
// their arrival until they are settled.
package inflight

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Entry is a delivery that this sender holds.
type Entry struct {
	*deliveries.Delivery
	predecessor *Entry        // another delivery of the id that was held when this one arrived
	removed     chan struct{} // closed when the delivery leaves the set
	begun       bool          // guarded by Set.mu: its attempt has started, so it is not returned
	payload     atomic.Int64  // bytes of its payload that count in Set.payloads
}

// Unverified reports whether another sender may have had this claim before.
func (d *Entry) Unverified() bool { return !d.First || d.predecessor != nil }

// HasPredecessor reports whether another delivery of the id was held when this
// one arrived, and AwaitPredecessor was not called yet.
func (d *Entry) HasPredecessor() bool { return d.predecessor != nil }

// AwaitPredecessor returns once the predecessor is settled. It returns false
// if ctx ends first.
func (d *Entry) AwaitPredecessor(ctx context.Context) bool {
	select {
	case <-d.predecessor.removed:
		d.predecessor = nil
		return true
	case <-ctx.Done():
		return false
	}
}

// Set is every delivery that this sender holds. It is safe for concurrent use.
type Set struct {
	limit int64
	free  *semaphore.Weighted

	mu         sync.Mutex
	deliveries map[*Entry]struct{}
	latest     map[message.ID]*Entry

	payloads atomic.Int64
}

// NewSet returns an empty set for at most limit deliveries.
func NewSet(limit int) *Set {
	return &Set{
		limit: int64(limit), free: semaphore.NewWeighted(int64(limit)),
		deliveries: map[*Entry]struct{}{}, latest: map[message.ID]*Entry{},
	}
}

// Reserve waits until a quarter of the set is free and reserves all that is.
// It returns 0 if ctx ends first. So a full set is refilled in batches, and one
// that has space takes an id the moment it arrives.
func (s *Set) Reserve(ctx context.Context) int {
	n := max(1, s.limit/4)
	if s.free.Acquire(ctx, n) != nil {
		return 0
	}
	for n < s.limit && s.free.TryAcquire(1) {
		n++
	}
	return int(n)
}

// Unreserve frees n reserved places that no delivery has taken.
func (s *Set) Unreserve(n int) { s.free.Release(int64(n)) }

// Add puts a delivery on a reserved place.
func (s *Set) Add(c *deliveries.Delivery) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &Entry{Delivery: c, predecessor: s.latest[c.ID], removed: make(chan struct{})}
	s.deliveries[d] = struct{}{}
	s.latest[c.ID] = d
	return d
}

// Remove removes a delivery that is settled, or left to the server. Each is
// removed once.
func (s *Set) Remove(d *Entry) {
	s.mu.Lock()
	delete(s.deliveries, d)
	if s.latest[d.ID] == d {
		delete(s.latest, d.ID)
	}
	s.mu.Unlock()
	s.payloads.Add(-d.payload.Swap(0))
	close(d.removed)
	s.free.Release(1)
}

// Begin marks a delivery whose attempt starts. It returns false if TakeWaiting
// has taken the delivery meanwhile.
func (s *Set) Begin(d *Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.deliveries[d]
	d.begun = held
	return held
}

// Held lists all deliveries.
func (s *Set) Held() []*deliveries.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*deliveries.Delivery, 0, len(s.deliveries))
	for d := range s.deliveries {
		list = append(list, d.Delivery)
	}
	return list
}

// TakeWaiting lists the deliveries whose attempt has not started, and keeps it
// from starting. The caller removes them.
func (s *Set) TakeWaiting() []*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Entry
	for d := range s.deliveries {
		if !d.begun {
			list = append(list, d)
			delete(s.deliveries, d)
		}
	}
	return list
}

// Len returns how many deliveries are held.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.deliveries)
}

// SetPayload counts the bytes of a delivery's payload until it is removed.
func (s *Set) SetPayload(d *Entry, bytes int) {
	d.payload.Store(int64(bytes))
	s.payloads.Add(int64(bytes))
}

// PayloadBytes returns how many bytes of payloads are held.
func (s *Set) PayloadBytes() int64 { return s.payloads.Load() }
