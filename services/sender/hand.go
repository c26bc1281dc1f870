package sender

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// item is a copy in hand and what is known of its message.
type item struct {
	*events.Copy
	elder *item           // another copy of the id that was in hand when this one came
	row   message.Message // set by load
	gone  chan struct{}   // closed when the item leaves the hand
	begun bool            // guarded by hand.mu: its attempt has started, so it is not given back

	payload atomic.Int64 // bytes of the row's payload that count in hand.payloads
}

// doubtful says that somebody may have had this claim before.
func (it *item) doubtful() bool { return !it.First || it.elder != nil }

// hand is every copy that this sender holds, from its arrival until it is
// settled. It is safe for concurrent use.
type hand struct {
	mu     sync.Mutex
	limit  int
	items  map[*item]struct{}
	latest map[message.ID]*item
	freed  chan struct{} // told when an item leaves

	payloads atomic.Int64 // bytes of payloads that its items hold
}

func newHand(limit int) *hand {
	return &hand{
		limit: limit, items: map[*item]struct{}{}, latest: map[message.ID]*item{},
		freed: make(chan struct{}, 1),
	}
}

// take adds a copy.
func (h *hand) take(c *events.Copy) *item {
	h.mu.Lock()
	defer h.mu.Unlock()
	it := &item{Copy: c, elder: h.latest[c.ID], gone: make(chan struct{})}
	h.items[it] = struct{}{}
	h.latest[c.ID] = it
	return it
}

// drop removes an item; its copy is settled, or left to the server.
func (h *hand) drop(it *item) {
	h.mu.Lock()
	delete(h.items, it)
	if h.latest[it.ID] == it {
		delete(h.latest, it.ID)
	}
	h.mu.Unlock()
	h.payloads.Add(-it.payload.Swap(0))
	close(it.gone)
	select {
	case h.freed <- struct{}{}:
	default:
	}
}

// begin marks an item as being attempted. It is false when the item was given
// back meanwhile.
func (h *hand) begin(it *item) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, held := h.items[it]
	it.begun = held
	return held
}

// room waits until a quarter of the hand is empty, and returns how much is;
// 0 when ctx ends first. So a full hand is refilled in batches, and one that
// has room takes an id the moment it comes.
func (h *hand) room(ctx context.Context) int {
	for {
		h.mu.Lock()
		empty := h.limit - len(h.items)
		h.mu.Unlock()
		if empty > 0 && empty >= h.limit/4 {
			return empty
		}
		select {
		case <-h.freed:
		case <-ctx.Done():
			return 0
		}
	}
}

// copies lists everything in hand.
func (h *hand) copies() []*events.Copy {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*events.Copy, 0, len(h.items))
	for it := range h.items {
		list = append(list, it.Copy)
	}
	return list
}

// waiting lists what is not begun and keeps it from being begun: the caller
// drops it.
func (h *hand) waiting() []*item {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*item
	for it := range h.items {
		if !it.begun {
			list = append(list, it)
			delete(h.items, it)
		}
	}
	return list
}

func (h *hand) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.items)
}

// keepRetry is how soon signs of life are tried again after a failure.
const keepRetry = time.Second

// keep gives every copy in hand a sign of life again and again until ctx ends.
func (s *sender) keep(ctx context.Context) {
	every := s.queue.KeepInterval()
	for pause(ctx, every) {
		every = s.queue.KeepInterval()
		copies := s.hand.copies()
		if len(copies) == 0 {
			continue
		}
		if err := s.queue.Keep(ctx, copies); err != nil && ctx.Err() == nil {
			every = min(every, keepRetry)
		}
	}
}

// pause waits; it is false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
