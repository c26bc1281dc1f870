package outbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Sizes and times of announcing.
const (
	announcers       = 4
	maxAnnouncements = 1024
	maxAnnounceSize  = 16 << 20 // bytes that wait to be published
	// ownersTime is how long the owner of an outbox row may try to publish
	// it; then it is the dispatchers' to relay.
	ownersTime = 5 * time.Second

	deleteLinger = 200 * time.Millisecond // how long a published row waits for others
	deleteBatch  = 1000
	deleteWait   = 5 * time.Second

	entryOverhead = 512 // what an entry weighs besides its data
)

// publisher publishes entries and waits for their acknowledgement;
// jetstream.Publisher is the one.
type publisher interface {
	Publish(ctx context.Context, entries []events.Entry) error
}

// outbox is where rows wait until they are published; *db.Store is the one.
type outbox interface {
	DeletePublished(ctx context.Context, ids []int64) error
}

// Row is what a transaction leaves to be announced.
type Row struct {
	OutboxID int64
	Entries  []events.Entry
	Began    time.Time // when the transaction began: the announcer's time counts from here
}

// Publisher publishes what was committed, and deletes its outbox rows.
// Whatever it can't do in time it leaves to the dispatchers' relay, so
// nothing piles up while NATS is away.
type Publisher struct {
	publish publisher
	outbox  outbox
	log     *zap.Logger
	trouble *service.FailureTracker
	relayed prometheus.Counter // what is left to the relay

	queue     chan Row
	queued    atomic.Int64 // bytes in queue
	published chan int64
}

func NewPublisher(publish publisher, outbox outbox, relayed prometheus.Counter, log *zap.Logger) *Publisher {
	return &Publisher{
		publish: publish, outbox: outbox, relayed: relayed, log: log,
		trouble:   service.NewFailureTracker(log, "announcing what was stored"),
		queue:     make(chan Row, maxAnnouncements),
		published: make(chan int64, deleteBatch),
	}
}

// Announce hands over what a transaction left. It never waits. Safe for
// concurrent use while Run works.
func (a *Publisher) Announce(c Row) {
	size := c.size()
	if a.queued.Add(size) <= maxAnnounceSize {
		select {
		case a.queue <- c:
			return
		default:
		}
	}
	a.queued.Add(-size)
	a.relayed.Inc()
}

// Trouble tells of what can not be published.
func (a *Publisher) Trouble() *service.FailureTracker { return a.trouble }

// Behind says that rows wait to be published. Safe for concurrent use.
func (a *Publisher) Behind() bool { return len(a.queue) >= announcers }

func (c Row) size() int64 {
	var size int64
	for _, entry := range c.Entries {
		size += int64(len(entry.Data) + entryOverhead)
	}
	return size
}

// Run announces until ctx ends, and then what is still queued: whoever calls
// Announce must have stopped before.
func (a *Publisher) Run(ctx context.Context) error {
	var publishing, deleting sync.WaitGroup
	for range announcers {
		publishing.Go(func() { a.work(ctx) })
	}
	deleting.Go(a.deletePublished)
	publishing.Wait()
	close(a.published)
	deleting.Wait()
	return nil
}

func (a *Publisher) work(ctx context.Context) {
	for {
		select {
		case c := <-a.queue:
			a.announce(c)
		case <-ctx.Done():
			select {
			case c := <-a.queue:
				a.announce(c)
			default:
				return
			}
		}
	}
}

func (a *Publisher) announce(c Row) {
	a.queued.Add(-c.size())
	ctx, cancel := context.WithDeadline(context.Background(), c.Began.Add(ownersTime))
	defer cancel()
	failpoint.At(failpoint.IngestPublishing)
	err := ctx.Err()
	if err == nil {
		err = a.publish.Publish(ctx, c.Entries)
	}
	a.trouble.Report(err)
	if err != nil {
		a.relayed.Inc() // the relay's now
		return
	}
	a.published <- c.OutboxID
}

// deletePublished deletes rows in batches: those that come while the last
// batch is being deleted, or within deleteLinger of the first.
func (a *Publisher) deletePublished() {
	for first := range a.published {
		ids := a.gather([]int64{first})
		failpoint.At(failpoint.IngestPublished)
		ctx, cancel := context.WithTimeout(context.Background(), deleteWait)
		// A row that stays is published again by the relay, which is harmless.
		if err := a.outbox.DeletePublished(ctx, ids); err != nil {
			a.log.Debug("leave published outbox rows to the relay", zap.Error(err))
		}
		cancel()
	}
}

func (a *Publisher) gather(ids []int64) []int64 {
	linger := time.NewTimer(deleteLinger)
	defer linger.Stop()
	for len(ids) < deleteBatch {
		select {
		case id, open := <-a.published:
			if !open {
				return ids
			}
			ids = append(ids, id)
		case <-linger.C:
			return ids
		}
	}
	return ids
}
