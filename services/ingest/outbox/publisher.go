package outbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

const (
	workers        = 4        // rows that are published at a time
	maxQueued      = 1024     // rows that wait to be published
	maxQueuedBytes = 16 << 20 // and their bytes
	// ownerTimeout is how long the process that wrote a row may try to publish
	// it. After that the row belongs to the dispatchers' relay.
	ownerTimeout = 5 * time.Second

	deleteLinger  = 200 * time.Millisecond // how long a published row waits for others to be deleted with
	deleteBatch   = 1000
	deleteTimeout = 5 * time.Second

	entryOverhead = 512 // bytes of an entry besides its data
)

// publisher publishes entries and waits until NATS has acknowledged them. The
// implementation is jetstream.Publisher.
type publisher interface {
	Publish(ctx context.Context, entries []events.OutboxMessage) error
}

// store holds the rows until they are published. The implementation is
// *db.Store.
type store interface {
	DeletePublished(ctx context.Context, ids []int64) error
}

// Row is an outbox row that a transaction has committed.
type Row struct {
	ID      int64
	Entries []events.OutboxMessage
	Began   time.Time // when the transaction began; ownerTimeout counts from here
}

func (r Row) size() int64 {
	var size int64
	for _, entry := range r.Entries {
		size += int64(len(entry.Data) + entryOverhead)
	}
	return size
}

// Publisher publishes outbox rows and deletes them. It leaves a row that it
// can't publish in time to the dispatchers' relay. So its memory stays bounded
// while NATS is down.
type Publisher struct {
	publisher publisher
	store     store
	relayed   prometheus.Counter
	log       *zap.Logger
	failures  *service.FailureTracker

	queue       chan Row
	queuedBytes atomic.Int64
	published   chan int64 // rows to delete
}

// NewPublisher returns a publisher that works while Run runs. relayed counts the
// rows that are left to the relay.
func NewPublisher(publisher publisher, store store, relayed prometheus.Counter, log *zap.Logger) *Publisher {
	return &Publisher{
		publisher: publisher, store: store, relayed: relayed, log: log,
		failures:  service.NewFailureTracker(log, "publishing the outbox"),
		queue:     make(chan Row, maxQueued),
		published: make(chan int64, deleteBatch),
	}
}

// Failures returns the tracker of failed publishes.
func (p *Publisher) Failures() *service.FailureTracker { return p.failures }

// Enqueue hands a row over for publishing. It never blocks: if the queue is
// full, the row is left to the relay. It is safe for concurrent use while Run
// runs.
func (p *Publisher) Enqueue(row Row) {
	size := row.size()
	if p.queuedBytes.Add(size) <= maxQueuedBytes {
		select {
		case p.queue <- row:
			return
		default:
		}
	}
	p.queuedBytes.Add(-size)
	p.relayed.Inc()
}

// Backlogged reports whether rows wait because all workers are busy. It is safe
// for concurrent use.
func (p *Publisher) Backlogged() bool { return len(p.queue) >= workers }

// Run publishes rows until ctx ends, and then those that are still queued. The
// callers of Enqueue must have stopped before ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	var publishing, deleting sync.WaitGroup
	for range workers {
		publishing.Go(func() { p.work(ctx) })
	}
	deleting.Go(p.deletePublished)
	publishing.Wait()
	close(p.published)
	deleting.Wait()
	return nil
}

func (p *Publisher) work(ctx context.Context) {
	for {
		select {
		case row := <-p.queue:
			p.publish(row)
		case <-ctx.Done():
			select {
			case row := <-p.queue:
				p.publish(row)
			default:
				return
			}
		}
	}
}

func (p *Publisher) publish(row Row) {
	p.queuedBytes.Add(-row.size())
	ctx, cancel := context.WithDeadline(context.Background(), row.Began.Add(ownerTimeout))
	defer cancel()
	failpoint.At(failpoint.IngestPublishing)
	err := ctx.Err()
	if err == nil {
		err = p.publisher.Publish(ctx, row.Entries)
	}
	p.failures.Report(err)
	if err != nil {
		p.relayed.Inc()
		return
	}
	p.published <- row.ID
}

// deletePublished deletes rows in batches. A batch holds the rows that arrived
// while the previous batch was deleted, and those that arrive within
// deleteLinger.
func (p *Publisher) deletePublished() {
	for first := range p.published {
		ids := p.gather(first)
		failpoint.At(failpoint.IngestPublished)
		ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
		// If the deletion fails, the relay publishes the row again. That is harmless.
		if err := p.store.DeletePublished(ctx, ids); err != nil {
			p.log.Debug("leave published outbox rows to the relay", zap.Error(err))
		}
		cancel()
	}
}

func (p *Publisher) gather(first int64) []int64 {
	ids := []int64{first}
	linger := time.NewTimer(deleteLinger)
	defer linger.Stop()
	for len(ids) < deleteBatch {
		select {
		case id, open := <-p.published:
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
