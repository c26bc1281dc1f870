package messages

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

const (
	purgeTimeout   = 2 * time.Second // to remove the schedule of a cancelled message
	refreshTimeout = 2 * time.Second // to update Redis after a redrive
)

// Cancel cancels a message. It returns db.ErrNotFound, or a *db.StateError if
// the message's state does not allow it.
func (s *Service) Cancel(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	began := time.Now()
	var entries []events.OutboxMessage
	m, outboxID, err := s.store.Cancel(ctx, id, func(cancelled []message.Message) []byte {
		entries = s.builder.Transitions(message.EventCancelled, cancelled)
		return events.EncodeOutbox(entries)
	})
	if err != nil {
		return message.Message{}, err
	}
	failpoint.At(failpoint.CancelStored)
	s.outbox.Enqueue(outbox.Row{ID: outboxID, Entries: entries, Began: began})
	if m.ClaimNumber > 0 {
		s.PurgeSchedule(m)
	}
	return m, nil
}

// Redrive returns a FAILED, CANCELLED or EXPIRED message to PENDING. It gets a
// new expiry, or none if expiresAt is nil. The errors are those of Cancel. The
// HTTP API calls this a retry.
func (s *Service) Redrive(ctx context.Context, id message.ID, expiresAt *time.Time) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	m, err := s.store.Redrive(ctx, id, expiresAt)
	failpoint.At(failpoint.RedriveStored)
	if err == nil {
		jetstream.Wake(s.js)
		s.refreshCache([]message.ID{id})
	}
	return m, err
}

// PurgeSchedule removes the schedule of a cancelled message from its stream, in
// the background. If it fails, the schedule fires and the message's row prevents
// the request.
func (s *Service) PurgeSchedule(m message.Message) {
	if !s.js.Conn().IsConnected() {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), purgeTimeout)
		defer cancel()
		failpoint.At(failpoint.CancelPurging)
		err := deliveries.RemoveScheduledRetry(ctx, s.js, m)
		failpoint.At(failpoint.CancelPurged)
		if err != nil {
			s.log.Debug("the schedule of a cancelled message stays until it fires", zap.Stringer("id", m.ID), zap.Error(err))
		}
	}()
}

// refreshCache updates Redis after a redrive, in the background. A redrive has
// no event, so the projector would update Redis only at the next emission. It
// does so if this fails.
func (s *Service) refreshCache(ids []message.ID) {
	if s.cache == nil || len(ids) == 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
		defer cancel()
		states, err := s.store.States(ctx, ids)
		if err == nil {
			err = s.cache.Refresh(ctx, states)
		}
		if err != nil {
			s.log.Debug("Redis shows a redrive only at the next emission", zap.Int("messages", len(ids)), zap.Error(err))
		}
	}()
}
