package accept

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

const (
	// fastPathBudget is how many ids the fast path may emit between two checks of
	// the work queue. maxFastPathQueue is how many ids may wait there at a check.
	// Their sum is the number up to which ticks fill the queue. Messages beyond
	// that wait in Postgres, and ticks keep their order.
	fastPathBudget   = 1_000
	maxFastPathQueue = 9_000

	checkAge     = time.Second           // a check that is older than this is repeated
	checkPause   = 20 * time.Millisecond // between two checks
	checkTimeout = 2 * time.Second
)

// FastPath decides whether the transaction that stores a message may emit it
// too. It knows whether NATS is connected, whether the outbox is published as
// fast as it grows, and whether the senders keep up. Whether the pace allows it
// only Postgres knows (InsertFastPath in pkg/db). TryReserve and Release are
// safe for concurrent use.
type FastPath struct {
	js     *jetstream.Client
	outbox *outbox.Publisher

	budget      atomic.Int64  // ids that may be emitted until the next check
	checkedAt   atomic.Int64  // in Unix nanoseconds
	checkWanted chan struct{} // wakes Run
}

// NewFastPath returns a fast path that is closed until Run has checked the
// queue.
func NewFastPath(js *jetstream.Client, outbox *outbox.Publisher) *FastPath {
	return &FastPath{js: js, outbox: outbox, checkWanted: make(chan struct{}, 1)}
}

// TryReserve reserves n ids. It never blocks. If it returns false, the messages
// wait for a tick. A nil FastPath is closed.
func (f *FastPath) TryReserve(n int) bool {
	if f == nil || !f.js.Conn().IsConnected() || f.outbox.Backlogged() {
		return false
	}
	left := f.budget.Add(-int64(n))
	if left < fastPathBudget/2 || time.Since(time.Unix(0, f.checkedAt.Load())) > checkAge {
		select {
		case f.checkWanted <- struct{}{}:
		default: // Run is awake
		}
	}
	if left < 0 {
		f.Release(n)
		return false
	}
	return true
}

// Release returns n ids that were reserved and not emitted.
func (f *FastPath) Release(n int) { f.budget.Add(int64(n)) }

// Run checks the work queue whenever TryReserve wants it, until ctx ends.
func (f *FastPath) Run(ctx context.Context) error {
	for {
		f.check(ctx)
		if !service.Sleep(ctx, checkPause) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.checkWanted:
		}
	}
}

func (f *FastPath) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	queued, queueErr := deliveries.Len(ctx, f.js, message.DefaultDestination)
	filling, streamErr := deliveries.MeasureFilling(ctx, f.js)
	f.checkedAt.Store(time.Now().UnixNano())
	if errors.Join(queueErr, streamErr) != nil || queued > maxFastPathQueue || filling.Full() {
		f.budget.Store(0)
		return
	}
	f.budget.Store(fastPathBudget)
}
