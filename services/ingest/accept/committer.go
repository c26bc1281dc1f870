package accept

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

const (
	workers        = 2        // transactions at a time
	maxGroup       = 500      // a transaction takes no more chunks once it has this many messages
	maxGroupBytes  = 4 << 20  // or bytes
	maxQueued      = 10_000   // messages that wait for a transaction
	maxQueuedBytes = 32 << 20 // and their bytes

	// maxPause bounds the pause of a worker after a transaction. The pause is as
	// long as the transaction took. Under load this makes the groups larger; a
	// single message after a quiet time does not wait.
	maxPause = 4 * time.Millisecond

	// failureMemory is how long a failure keeps the service from being ready if
	// no message arrives. While it is not ready, none does.
	failureMemory = 10 * time.Second

	rowOverhead = 512 // bytes of a message besides its content and payload
)

// inserter stores messages. The implementation is *db.Store.
type inserter interface {
	Insert(ctx context.Context, group []message.Message, encode db.EncodeOutbox) ([]db.InsertResult, int64, error)
	InsertFastPath(ctx context.Context, at time.Time, group []message.Message, encode db.EncodeOutbox) ([]db.InsertResult, int64, error)
}

// storeResult is the result of storing one message.
type storeResult struct {
	inserted db.InsertResult
	err      error
}

// CommitterConfig is what a committer works with.
type CommitterConfig struct {
	Store    inserter
	Builder  events.EventBuilder
	Outbox   *outbox.Publisher
	FastPath *FastPath         // nil: every message waits for a tick
	JS       *jetstream.Client // wakes the dispatchers; nil: nothing wakes them
	Metrics  *metrics.Metrics
	Log      *zap.Logger
}

// Committer stores messages in groups. All messages that arrive while its
// transactions run go into the next one together. A single message does not
// wait for others. submit is safe for concurrent use while Run runs.
type Committer struct {
	store    inserter
	builder  events.EventBuilder
	outbox   *outbox.Publisher
	fastPath *FastPath
	js       *jetstream.Client
	metrics  *metrics.Metrics
	clock    jetstream.ClockSkew // Postgres'
	failures *service.FailureTracker

	queue          chan chunk
	queuedMessages atomic.Int64
	queuedBytes    atomic.Int64
	group          service.Batch[chunk]
}

// submission is the messages of one call of submit.
type submission struct {
	messages []message.Message
	results  []storeResult // each item writes its own; read after done
	pending  atomic.Int64
	done     chan struct{}
}

// chunk is the part of a submission that goes into one transaction.
type chunk struct {
	items []item
	bytes int
}

// item is one message of a submission.
type item struct {
	submission *submission
	index      int
}

func (i item) message() message.Message { return i.submission.messages[i.index] }

func (i item) resolve(r storeResult) {
	i.submission.results[i.index] = r
	if i.submission.pending.Add(-1) == 0 {
		close(i.submission.done)
	}
}

// NewCommitter returns a committer that stores messages while Run runs.
func NewCommitter(cfg CommitterConfig) *Committer {
	c := &Committer{
		store: cfg.Store, builder: cfg.Builder, outbox: cfg.Outbox, fastPath: cfg.FastPath,
		js: cfg.JS, metrics: cfg.Metrics,
		failures: service.NewFailureTracker(cfg.Log, "storing messages").ForgetAfter(failureMemory),
		queue:    make(chan chunk, maxQueued),
		group:    service.Batch[chunk]{Bytes: maxGroupBytes, Size: chunk.groupShare},
	}
	cfg.Metrics.WatchQueue(c.queuedMessages.Load)
	return c
}

// Failures returns the tracker of failed transactions.
func (c *Committer) Failures() *service.FailureTracker { return c.failures }

// submit stores messages and returns the result of each, in their order. If ctx
// ends first, the results are ErrTimeout and the messages are stored all the
// same. If the queue is full, they are ErrOverloaded.
func (c *Committer) submit(ctx context.Context, messages []message.Message) []storeResult {
	if len(messages) == 0 {
		return nil
	}
	s := &submission{messages: messages, results: make([]storeResult, len(messages)), done: make(chan struct{})}
	s.pending.Store(int64(len(messages)))
	for _, part := range s.chunks() {
		c.enqueue(part)
	}
	select {
	case <-s.done:
		return s.results
	case <-ctx.Done():
		timeouts := make([]storeResult, len(messages)) // s.results are still being written
		for i := range timeouts {
			timeouts[i].err = ErrTimeout
		}
		return timeouts
	}
}

// chunks splits a submission into parts that fit a transaction.
func (s *submission) chunks() []chunk {
	var all []chunk
	var part chunk
	for i, m := range s.messages {
		part.items = append(part.items, item{submission: s, index: i})
		part.bytes += len(m.Payload) + len(m.Content) + rowOverhead
		if len(part.items) == maxGroup || part.bytes >= maxGroupBytes || i == len(s.messages)-1 {
			all = append(all, part)
			part = chunk{}
		}
	}
	return all
}

// groupShare returns how much of a group a chunk fills, of maxGroupBytes: by its
// bytes or by its number of messages, whichever is more.
func (c chunk) groupShare() int {
	const perMessage = (maxGroupBytes + maxGroup - 1) / maxGroup
	return max(c.bytes, len(c.items)*perMessage)
}

func (c *Committer) enqueue(part chunk) {
	messages, bytes := c.queuedMessages.Add(int64(len(part.items))), c.queuedBytes.Add(int64(part.bytes))
	if messages <= maxQueued && bytes <= maxQueuedBytes {
		c.queue <- part // never blocks: a chunk holds at least one message
		return
	}
	c.dequeued(part)
	for _, i := range part.items {
		i.resolve(storeResult{err: ErrOverloaded})
	}
}

func (c *Committer) dequeued(part chunk) {
	c.queuedMessages.Add(-int64(len(part.items)))
	c.queuedBytes.Add(-int64(part.bytes))
}

// Run stores messages until ctx ends, and then those that are still queued. The
// callers of the Acceptor must have stopped before ctx ends.
func (c *Committer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() { c.work(ctx) })
	}
	running.Wait()
	return nil
}

func (c *Committer) work(ctx context.Context) {
	for {
		group := c.next(ctx)
		if group == nil {
			return
		}
		c.metrics.GroupSize.Observe(float64(len(group)))
		began := time.Now()
		c.commit(group)
		service.Sleep(ctx, min(time.Since(began), maxPause)) // more messages arrive meanwhile
	}
}

// next returns the next group; nil once ctx has ended and the queue is empty.
func (c *Committer) next(ctx context.Context) []item {
	parts := c.group.Gather(ctx, c.queue)
	if parts == nil {
		select {
		case first := <-c.queue:
			parts = c.group.GatherAfter(first, c.queue)
		default:
			return nil
		}
	}
	var group []item
	for _, part := range parts {
		c.dequeued(part)
		group = append(group, part.items...)
	}
	return group
}

// commit stores a group. If its data is refused, it is split until only the
// message that causes the error fails.
func (c *Committer) commit(group []item) {
	messages := make([]message.Message, len(group))
	for i, item := range group {
		messages[i] = item.message()
	}
	results, err := c.insert(messages)
	if !dbpool.BadData(err) { // bad data is a failure of one message, not of the committer
		c.failures.Report(err)
	}
	switch {
	case err == nil:
		for i, item := range group {
			item.resolve(storeResult{inserted: results[i]})
		}
	case len(group) == 1 || dbpool.Unavailable(err):
		for _, item := range group {
			item.resolve(storeResult{err: err})
		}
	default:
		c.commit(group[:len(group)/2])
		failpoint.At(failpoint.IngestSplit)
		c.commit(group[len(group)/2:])
	}
}
