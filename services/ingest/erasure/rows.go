package erasure

import (
	"context"
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

const (
	batchSize    = 500                   // messages that one transaction erases
	lockedPeriod = 50 * time.Millisecond // the wait for messages that another transaction has locked
)

// eraseMessages deletes rows. A message that is not final ends by that: if no
// sender has loaded it, it is not sent.
func (e *Eraser) eraseMessages(ctx context.Context, r *run) error {
	if r.DryRun {
		found, err := e.store.CountRecipient(ctx, r.To)
		r.result.Erased, r.result.Cancelled, r.result.Attempts = found.Messages, found.Open, found.Attempts
		return err
	}
	for {
		n, err := e.eraseBatch(ctx, r)
		if err != nil {
			return err
		}
		if n == batchSize {
			continue
		}
		left, err := e.store.HasRecipient(ctx, r.To)
		if err != nil || !left {
			return err
		}
		if !service.Sleep(ctx, lockedPeriod) {
			return ctx.Err()
		}
	}
}

func (e *Eraser) eraseBatch(ctx context.Context, r *run) (int, error) {
	began := e.now()
	var entries []events.OutboxMessage
	cancelled := 0
	encode := func(all []message.Message) []byte {
		entries, cancelled = e.eventsOf(all, began)
		return events.EncodeOutbox(entries)
	}
	var ids []message.ID
	erased, err := e.store.EraseBatch(ctx, r.To, batchSize, encode, func(ctx context.Context, all []message.ID) error {
		ids = all
		err := e.forget(ctx, ids, &r.result)
		failpoint.At(failpoint.EraseForgotten)
		return err
	})
	if err != nil {
		return 0, err
	}
	failpoint.At(failpoint.EraseStored)
	e.outbox.Enqueue(outbox.Row{ID: erased.OutboxID, Entries: entries, Began: began})
	r.result.Erased += int64(len(ids))
	r.result.Cancelled += int64(cancelled)
	r.result.Attempts += erased.Attempts
	for _, m := range erased.Messages {
		if m.Status == message.Retrying {
			e.messages.PurgeSchedule(m)
		}
	}
	// Again: until the commit the projector may have copied them to Redis.
	return len(ids), e.forget(ctx, ids, &r.result)
}

// eventsOf returns what an erasure publishes: the end of the messages that were
// open, and a change notification about all of them. The projector may have read
// a row before it was deleted, and copy it to Redis afterwards. The notification
// makes it look again and delete the copy.
func (e *Eraser) eventsOf(all []message.Message, at time.Time) (entries []events.OutboxMessage, cancelled int) {
	var open []message.Message
	var final []message.ID
	for _, m := range all {
		if m.Status.Final() {
			final = append(final, m.ID)
		} else {
			open = append(open, anonymized(m, at))
		}
	}
	return append(e.builder.Transitions(message.EventCancelled, open), e.builder.ChangesOf(final)...), len(open)
}

// anonymized returns an erased message as its last event shows it.
func anonymized(m message.Message, at time.Time) message.Message {
	m = m.WithoutContent()
	m.To, m.ExternalID, m.LastError, m.NextAttemptAt = "", "", "", nil
	m.Status, m.Version, m.UpdatedAt = message.Cancelled, m.Version+1, at
	return m
}

// forget removes messages from Redis.
func (e *Eraser) forget(ctx context.Context, ids []message.ID, result *Result) error {
	if e.cache == nil {
		return nil
	}
	n, err := e.cache.Delete(ctx, ids)
	result.Cached += n
	if err != nil {
		return errors.Join(err, unavailable("Redis went away; what is left is erased by the same request again"))
	}
	return nil
}
