package messages

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

// Cancel calls a message back.
func (u *Service) Cancel(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	began := time.Now()
	var entries []events.Entry
	m, outboxID, err := u.store.Cancel(ctx, id, func(moved []message.Message) []byte {
		entries = u.composer.Moved(message.EventCancelled, moved)
		return events.Encode(entries)
	})
	if err != nil {
		return message.Message{}, err
	}
	failpoint.At(failpoint.CancelStored)
	u.announcer.Announce(outbox.Row{OutboxID: outboxID, Entries: entries, Began: began})
	if m.ClaimNumber > 0 {
		u.Unpark(m)
	}
	return m, nil
}

// Retry brings a message back that is FAILED, CANCELLED or EXPIRED, with a
// new expiry or none.
func (u *Service) Retry(ctx context.Context, id message.ID, expiresAt *time.Time) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	m, err := u.store.Redrive(ctx, id, expiresAt)
	failpoint.At(failpoint.RedriveStored)
	if err == nil {
		jetstream.Wake(u.js)
		u.recache([]message.ID{id})
	}
	return m, err
}

// Unpark takes the schedule of a cancelled message off its stream. The
// message's row keeps it from being sent anyway, so nobody waits for it.
func (u *Service) Unpark(m message.Message) {
	if !u.js.Conn().IsConnected() {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), unparkWait)
		defer cancel()
		failpoint.At(failpoint.CancelPurging)
		err := deliveries.RemoveParked(ctx, u.js, m)
		failpoint.At(failpoint.CancelPurged)
		if err != nil {
			u.log.Debug("the schedule of a cancelled message stays until it fires", zap.Stringer("id", m.ID), zap.Error(err))
		}
	}()
}

// recache copies to Redis what the copier will not hear of before the next
// emission: a retry has no event. Nobody waits for it, and what gets lost here
// comes with that emission.
func (u *Service) recache(ids []message.ID) {
	if u.cache == nil || len(ids) == 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), recacheWait)
		defer cancel()
		rows, err := u.store.States(ctx, ids)
		states := make([]cache.State, len(rows))
		for i, row := range rows {
			states[i] = cache.State(row)
		}
		if err == nil {
			err = u.cache.Refresh(ctx, states)
		}
		if err != nil {
			u.log.Debug("Redis shows what was retried at its next emission", zap.Int("messages", len(ids)), zap.Error(err))
		}
	}()
}

// recacheWait bounds the copy to Redis of what was retried.
const recacheWait = 2 * time.Second

// unparkWait bounds the removal of a cancelled message's schedule.
const unparkWait = 2 * time.Second
