package accept

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

const (
	// arrivalRoom is how many ids may be emitted on arrival between two looks
	// at the work queue, and calmQueue how many may wait there at a look: both
	// together are the bound up to which ticks would fill it too. What comes
	// beyond that waits in Postgres, and ticks keep the order.
	arrivalRoom = 1_000
	calmQueue   = 9_000
	// lookEvery is how old the last look may be when there is another to be
	// had, and lookPause lies between two.
	lookEvery = time.Second
	lookPause = 20 * time.Millisecond
	lookWait  = 2 * time.Second
)

// arrivals knows whether what arrives may be emitted at once: a message that
// is due, while none waits for a tick, need not wait for one either. Whether
// the pace allows it only Postgres knows (see InsertFastPath in pkg/db); here
// it is whether NATS takes what is published, and the senders keep up. take and
// giveBack are safe for concurrent use.
type arrivals struct {
	js        *jetstream.Client
	announcer *outbox.Publisher // says whether what was stored is published as fast as it comes

	room   atomic.Int64
	looked atomic.Int64  // when, in Unix nanoseconds
	wanted chan struct{} // another look is
}

// NewFastPath returns arrivals that has no room until Run has looked, and none
// while the announcer is behind: what was claimed would only wait.
func NewFastPath(js *jetstream.Client, announcer *outbox.Publisher) *arrivals {
	return &arrivals{js: js, announcer: announcer, wanted: make(chan struct{}, 1)}
}

// Take reserves room for n ids. It never waits: what finds none is left to the
// ticks.
func (a *arrivals) take(n int) bool {
	if a == nil || !a.js.Conn().IsConnected() || a.announcer.Behind() {
		return false
	}
	left := a.room.Add(-int64(n))
	if left < arrivalRoom/2 || time.Since(time.Unix(0, a.looked.Load())) > lookEvery {
		select {
		case a.wanted <- struct{}{}:
		default: // it is wanted already
		}
	}
	if left < 0 {
		a.giveBack(n)
		return false
	}
	return true
}

// giveBack returns room that was not used.
func (a *arrivals) giveBack(n int) { a.room.Add(int64(n)) }

// Run looks at the queue whenever that is wanted, until ctx ends.
func (a *arrivals) Run(ctx context.Context) error {
	for {
		a.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookPause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.wanted:
		}
	}
}

func (a *arrivals) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	queued, err := deliveries.Queued(ctx, a.js, message.DefaultDestination)
	filling, unknown := deliveries.DeliveriesFilling(ctx, a.js)
	a.looked.Store(time.Now().UnixNano())
	if errors.Join(err, unknown) != nil || queued > calmQueue || filling.Full() {
		a.room.Store(0)
		return
	}
	a.room.Store(arrivalRoom)
}
