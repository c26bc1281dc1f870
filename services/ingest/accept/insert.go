package accept

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

// insert tries a transaction a second time when Postgres could not work: a
// broken connection of the pool, a deadlock. Should the first one have been
// committed after all, the second finds its messages there under their ids.
func (c *committer) insert(messages []message.Message) ([]db.InsertResult, error) {
	// Not the caller's context: others are in the group.
	ctx, cancel := context.WithTimeout(context.Background(), commitWait)
	defer cancel()
	results, err := c.insertOnce(ctx, messages)
	if err != nil && db.Unavailable(err) {
		select {
		case <-time.After(commitRepeat):
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

func (c *committer) insertOnce(ctx context.Context, messages []message.Message) ([]db.InsertResult, error) {
	began := time.Now()
	var entries []events.Entry
	var claimed, pending int
	at := c.clock.Now()
	box := func(created []message.Message) []byte {
		claimed, pending = countClaimed(created)
		entries = c.composer.Arrived(created)
		return events.Encode(entries)
	}
	var results []db.InsertResult
	var outboxID int64
	var err error
	emit := c.arrivals.take(len(messages))
	failpoint.At(failpoint.IngestReceived)
	if emit {
		results, outboxID, err = c.store.InsertFastPath(ctx, at, messages, box)
	} else {
		results, outboxID, err = c.store.Insert(ctx, messages, box)
	}
	c.setClock(began, at, results)
	if emit && err == nil {
		c.arrivals.giveBack(len(messages) - claimed)
		c.counts.Claimed.Add(float64(claimed))
	}
	if err == nil && outboxID != 0 {
		failpoint.At(failpoint.IngestStored)
		if pending > 0 {
			c.wake()
		}
		c.announcer.Announce(outbox.Row{OutboxID: outboxID, Entries: entries, Began: began})
	}
	return results, err
}

// setClock learns Postgres' time from new messages, unless it was given to them
// by this clock.
func (c *committer) setClock(began, given time.Time, results []db.InsertResult) {
	for _, r := range results {
		if r.Created {
			if told := r.Message.UpdatedAt; !told.Equal(given.Truncate(time.Microsecond)) {
				c.clock.Measure(began, told, time.Now())
			}
			return
		}
	}
}

// countClaimed divides new messages into those that were claimed as they
// arrived, and those that wait for a tick.
func countClaimed(created []message.Message) (claimed, pending int) {
	for _, m := range created {
		if m.Status == message.Queued {
			claimed++
		}
	}
	return claimed, len(created) - claimed
}

// wake tells the dispatchers that something may be due.
func (c *committer) wake() {
	if c.js != nil {
		jetstream.Wake(c.js)
	}
}
