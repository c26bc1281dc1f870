package accept

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

const (
	insertTimeout = 8 * time.Second        // of a transaction, with its second try
	retryPause    = 100 * time.Millisecond // before the second try
)

// insert stores messages in one transaction. If Postgres can't work, for example
// because a connection broke or because of a deadlock, it tries once more. The
// first transaction may have been committed. Then the second finds the messages
// under their ids.
func (c *Committer) insert(messages []message.Message) ([]db.InsertResult, error) {
	// The group belongs to several callers, so none of their contexts bounds it.
	ctx, cancel := context.WithTimeout(context.Background(), insertTimeout)
	defer cancel()
	results, err := c.insertOnce(ctx, messages)
	if err != nil && dbpool.Unavailable(err) {
		select {
		case <-time.After(retryPause):
			results, err = c.insertOnce(ctx, messages)
		case <-ctx.Done():
		}
	}
	if err != nil {
		return nil, err
	}
	for i := range results {
		results[i].Created = results[i].Created || results[i].Message.ID == messages[i].ID
	}
	return results, nil
}

func (c *Committer) insertOnce(ctx context.Context, messages []message.Message) ([]db.InsertResult, error) {
	began := time.Now()
	var entries []events.OutboxMessage
	var claimed, pending int
	at := c.clock.Now()
	encode := func(created []message.Message) []byte {
		claimed, pending = countClaimed(created)
		entries = c.builder.Created(created)
		return events.EncodeOutbox(entries)
	}
	var results []db.InsertResult
	var outboxID int64
	var err error
	fast := c.fastPath.TryReserve(len(messages))
	failpoint.At(failpoint.IngestReceived)
	if fast {
		results, outboxID, err = c.store.InsertFastPath(ctx, at, messages, encode)
	} else {
		results, outboxID, err = c.store.Insert(ctx, messages, encode)
	}
	c.setClock(began, at, results)
	if fast && err == nil {
		c.fastPath.Release(len(messages) - claimed)
		c.metrics.FastPath.Add(float64(claimed))
	}
	if err == nil && outboxID != 0 {
		failpoint.At(failpoint.IngestStored)
		if pending > 0 {
			c.wakeDispatchers()
		}
		c.outbox.Enqueue(outbox.Row{ID: outboxID, Entries: entries, Began: began})
	}
	return results, err
}

// setClock learns Postgres' time from new messages, unless they got their time
// from this clock.
func (c *Committer) setClock(began, given time.Time, results []db.InsertResult) {
	for _, r := range results {
		if r.Created {
			if stored := r.Message.UpdatedAt; !stored.Equal(given.Truncate(time.Microsecond)) {
				c.clock.Measure(began, stored, time.Now())
			}
			return
		}
	}
}

// countClaimed counts the new messages that the transaction claimed, and those
// that wait for a tick.
func countClaimed(created []message.Message) (claimed, pending int) {
	for _, m := range created {
		if m.Status == message.Queued {
			claimed++
		}
	}
	return claimed, len(created) - claimed
}

// wakeDispatchers wakes the dispatchers: a message may be due.
func (c *Committer) wakeDispatchers() {
	if c.js != nil {
		jetstream.Wake(c.js)
	}
}
