package accept

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

// Sizes and times of the group commit.
const (
	committers    = 2        // transactions at a time
	maxChunk      = 500      // messages of one caller that go into a transaction together
	maxGroup      = 500      // messages from which on a transaction takes no more
	maxGroupBytes = 4 << 20  // and bytes
	maxQueued     = 10_000   // messages that wait for a transaction
	maxQueuedSize = 32 << 20 // and bytes

	// maxCommitRest bounds a committer's rest after a transaction, which is as
	// long as that took: under load each is for more messages then, and a lone
	// message after a quiet time waits for nothing.
	maxCommitRest = 4 * time.Millisecond

	commitWait   = 8 * time.Second        // how long a transaction may take
	commitRepeat = 100 * time.Millisecond // pause before it is tried a second time

	// storeMemory is how long a failure keeps the service from being ready when
	// nobody hands anything in since: nobody does while it is not ready.
	storeMemory = 10 * time.Second

	rowOverhead = 512 // what a message weighs besides its content
)

// inserter is where messages are stored; *db.Store is the one.
type inserter interface {
	Insert(ctx context.Context, group []message.Message, box db.EncodeOutbox) ([]db.InsertResult, int64, error)
	InsertFastPath(ctx context.Context, at time.Time, group []message.Message, box db.EncodeOutbox) ([]db.InsertResult, int64, error)
}

// outcome is what became of one message.
type outcome struct {
	stored db.InsertResult
	err    error
}

// committer stores messages in groups: all that arrive while its
// transactions run go into the next one together, and a lone message waits
// for nobody. Store is safe for concurrent use while Run works.
type committer struct {
	store     inserter
	composer  events.Composer
	announcer *outbox.Publisher
	arrivals  *arrivals         // nil: everything is left to the ticks
	js        *jetstream.Client // nil: nobody is woken
	counts    *metrics.Metrics
	clock     jetstream.Skew // Postgres'
	trouble   *service.FailureTracker

	queue    chan chunk
	messages atomic.Int64  // in queue
	bytes    atomic.Int64  // in queue
	closed   chan struct{} // ends the committers once the queue is empty
}

// submission is what one caller wants stored.
type submission struct {
	messages []message.Message
	outcomes []outcome // one's own place each; read after done
	left     atomic.Int64
	done     chan struct{}
}

// chunk is a part of a submission that goes into one transaction.
type chunk struct {
	places []place
	bytes  int64
}

// place is one message of a submission.
type place struct {
	of    *submission
	index int
}

func (p place) message() message.Message { return p.of.messages[p.index] }

func (p place) settle(o outcome) {
	p.of.outcomes[p.index] = o
	if p.of.left.Add(-1) == 0 {
		close(p.of.done)
	}
}

// CommitterConfig are what a committer works with.
type CommitterConfig struct {
	Store     inserter
	Composer  events.Composer
	Announcer *outbox.Publisher
	Arrivals  *arrivals         // nil: everything is left to the ticks
	JS        *jetstream.Client // wakes the dispatchers; nil: nothing does
	Counts    *metrics.Metrics
	Log       *zap.Logger
}

// NewCommitter returns a committer that stores once Run works.
func NewCommitter(p CommitterConfig) *committer {
	c := &committer{
		store: p.Store, composer: p.Composer, announcer: p.Announcer, arrivals: p.Arrivals,
		js: p.JS, counts: p.Counts,
		trouble: service.NewFailureTracker(p.Log, "storing messages").ForgetAfter(storeMemory),
		queue:   make(chan chunk, maxQueued),
		closed:  make(chan struct{}),
	}
	p.Counts.WatchQueue(c.messages.Load)
	return c
}

// Trouble tells of what can not be stored.
func (c *committer) Trouble() *service.FailureTracker { return c.trouble }

// Store stores messages and returns, in their order, what became of each. A
// caller that leaves harms nobody: its messages are stored all the same, and
// it is told ErrTimeout. Messages that find the queue full are told
// ErrOverloaded.
func (c *committer) Store(ctx context.Context, messages []message.Message) []outcome {
	if len(messages) == 0 {
		return nil
	}
	s := &submission{messages: messages, outcomes: make([]outcome, len(messages)), done: make(chan struct{})}
	s.left.Store(int64(len(messages)))
	for _, part := range s.chunks() {
		c.enqueue(part)
	}
	select {
	case <-s.done:
		return s.outcomes
	case <-ctx.Done():
		late := make([]outcome, len(messages)) // the submission's own are still being written
		for i := range late {
			late[i].err = ErrTimeout
		}
		return late
	}
}

// chunks cuts a submission into parts that are good for a transaction.
func (s *submission) chunks() []chunk {
	var all []chunk
	var part chunk
	for i, m := range s.messages {
		part.places = append(part.places, place{of: s, index: i})
		part.bytes += weight(m)
		if len(part.places) == maxChunk || part.bytes >= maxGroupBytes || i == len(s.messages)-1 {
			all = append(all, part)
			part = chunk{}
		}
	}
	return all
}

func (c *committer) enqueue(part chunk) {
	count := int64(len(part.places))
	messages, bytes := c.messages.Add(count), c.bytes.Add(part.bytes)
	if messages <= maxQueued && bytes <= maxQueuedSize {
		c.queue <- part // there is room: no chunk is empty
		return
	}
	c.dequeued(part)
	for _, p := range part.places {
		p.settle(outcome{err: ErrOverloaded})
	}
}

func (c *committer) dequeued(part chunk) {
	c.messages.Add(-int64(len(part.places)))
	c.bytes.Add(-part.bytes)
}

func weight(m message.Message) int64 {
	return int64(len(m.Payload) + len(m.Content) + rowOverhead)
}

// Run stores what is queued until ctx ends, and then what is still queued:
// whoever calls Store must have stopped before.
func (c *committer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range committers {
		running.Go(c.work)
	}
	<-ctx.Done()
	close(c.closed)
	running.Wait()
	return nil
}

func (c *committer) work() {
	for {
		group := c.next()
		if group == nil {
			return
		}
		c.counts.Groups.Observe(float64(len(group)))
		began := time.Now()
		c.commit(group)
		select {
		case <-time.After(min(time.Since(began), maxCommitRest)): // the others gather meanwhile
		case <-c.closed:
		}
	}
}

// next waits for a first chunk and takes with it all that are there.
func (c *committer) next() []place {
	var group []place
	var bytes int64
	take := func(part chunk) {
		c.dequeued(part)
		group, bytes = append(group, part.places...), bytes+part.bytes
	}
	select {
	case part := <-c.queue:
		take(part)
	case <-c.closed:
		select {
		case part := <-c.queue:
			take(part)
		default:
			return nil
		}
	}
	for len(group) < maxGroup && bytes < maxGroupBytes {
		select {
		case part := <-c.queue:
			take(part)
		default:
			return group
		}
	}
	return group
}

// commit stores a group. One that fails by its data is split, until the
// culprit stands alone: it alone is told.
func (c *committer) commit(group []place) {
	messages := make([]message.Message, len(group))
	for i, p := range group {
		messages[i] = p.message()
	}
	results, err := c.insert(messages)
	if !db.BadData(err) { // which is the trouble of one message alone
		c.trouble.Report(err)
	}
	switch {
	case err == nil:
		for i, p := range group {
			p.settle(outcome{stored: results[i]})
		}
	case len(group) == 1 || db.Unavailable(err):
		for _, p := range group {
			p.settle(outcome{err: err})
		}
	default:
		c.commit(group[:len(group)/2])
		failpoint.At(failpoint.IngestSplit)
		c.commit(group[len(group)/2:])
	}
}
