package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// CancelLead is how far ahead the next attempt of a parked message must be for a
// cancel, so that no sender is about to start it.
const CancelLead = 5 * time.Second

// Cancel cancels a message that is PENDING, or RETRYING with its next attempt at
// least CancelLead away. It returns the changed message and the outbox row to
// publish. Otherwise it returns ErrNotFound or a *StateError. The caller purges
// the delayed delivery of a parked message.
func (s *Store) Cancel(ctx context.Context, id message.ID, encode EncodeOutbox) (message.Message, int64, error) {
	return s.changeOne(ctx, id, message.Cancel, encode, func(q *dbsqlc.Queries) (dbsqlc.Message, error) {
		return q.CancelMessage(ctx, id, texts(message.Cancel.From), CancelLead)
	})
}

// Redrive returns a FAILED, CANCELLED or EXPIRED message to PENDING. It is due now,
// has a new retry budget, and expires only if expiresAt is given. It returns the
// changed message; otherwise ErrNotFound or a *StateError.
func (s *Store) Redrive(ctx context.Context, id message.ID, expiresAt *time.Time) (message.Message, error) {
	m, _, err := s.changeOne(ctx, id, message.Redrive, nil, func(q *dbsqlc.Queries) (dbsqlc.Message, error) {
		return q.RedriveMessage(ctx, expiresAt, id, texts(message.Redrive.From))
	})
	return m, err
}

// changeOne applies a user's transition; encode is nil for one without an event.
func (s *Store) changeOne(ctx context.Context, id message.ID, move message.Transition, encode EncodeOutbox, update func(*dbsqlc.Queries) (dbsqlc.Message, error)) (m message.Message, outboxID int64, err error) {
	err = s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		row, err := update(q)
		if errors.Is(err, pgx.ErrNoRows) {
			now, err := q.GetMessage(ctx, id)
			if errors.Is(err, pgx.ErrNoRows) {
				return ErrNotFound
			}
			if err != nil {
				return err
			}
			return &StateError{Transition: move, Status: now.Status}
		}
		if err != nil {
			return err
		}
		if m = toMessage(row); encode == nil {
			return nil
		}
		outboxID, err = writeOutbox(ctx, last, []message.Message{m}, encode)
		return err
	})
	if err != nil {
		return message.Message{}, 0, fmt.Errorf("%s message %s: %w", move.Name, id, err)
	}
	return m, outboxID, nil
}

// RedriveFilter selects the messages of a bulk redrive. A zero field does not filter.
type RedriveFilter struct {
	Statuses      []message.Status // only those that a redrive can leave; empty: all of those
	Destination   string
	CreatedAfter  *time.Time // inclusive
	CreatedBefore *time.Time // exclusive
}

func (r RedriveFilter) before() []string {
	if len(r.Statuses) == 0 {
		return texts(message.Redrive.From)
	}
	allowed := make([]message.Status, 0, len(r.Statuses))
	for _, status := range r.Statuses {
		if message.Redrive.Allows(status) {
			allowed = append(allowed, status)
		}
	}
	return texts(allowed)
}

// CountRedrivable returns how many messages a bulk redrive would change now.
func (s *Store) CountRedrivable(ctx context.Context, r RedriveFilter) (int64, error) {
	count, err := s.queries.CountRedrivable(ctx, dbsqlc.CountRedrivableParams{
		FromStatuses: r.before(), Destination: set(r.Destination), CreatedAfter: r.CreatedAfter, CreatedBefore: r.CreatedBefore,
	})
	if err != nil {
		return 0, fmt.Errorf("count messages to retry: %w", err)
	}
	return count, nil
}

// RedriveBatch is Redrive, without an expiry, for at most limit messages with ids
// above after; the first batch starts at the zero ID. It returns the changed
// messages and the id to pass as after to the next call. Fewer than limit means
// that it was the last batch. It skips messages that others are changing.
func (s *Store) RedriveBatch(ctx context.Context, r RedriveFilter, after message.ID, limit int) (moved []message.ID, last message.ID, err error) {
	ids, err := s.queries.RedriveMessages(ctx, dbsqlc.RedriveMessagesParams{
		FromStatuses: r.before(), After: after, Destination: set(r.Destination),
		CreatedAfter: r.CreatedAfter, CreatedBefore: r.CreatedBefore, BatchLimit: int32(limit),
	})
	if err != nil {
		return nil, after, fmt.Errorf("retry messages after %s: %w", after, err)
	}
	for _, id := range ids {
		if bytes.Compare(id[:], after[:]) > 0 {
			after = id
		}
	}
	return ids, after, nil
}
