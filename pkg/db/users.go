package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// CancelLead is how far ahead the next attempt of a parked message must be
// for a cancel to be sure that no sender is about to make it.
const CancelLead = 5 * time.Second

// Cancel calls back a message that is PENDING, or RETRYING with its next
// attempt at least CancelLead away. It returns the message as it is now and
// the outbox row to publish; ErrNotFound or a *StateError else. The schedule
// of a parked message is the caller's to purge.
func (s *Store) Cancel(ctx context.Context, id message.ID, box EncodeOutbox) (message.Message, int64, error) {
	return s.moveOne(ctx, id, message.Cancel, box, func(q *dbsqlc.Queries) (dbsqlc.Message, error) {
		return q.CancelMessage(ctx, id, texts(message.Cancel.From), CancelLead)
	})
}

// Redrive brings a FAILED, CANCELLED or EXPIRED message back to PENDING, due
// now, with a new retry budget, and with no expiry unless one is given. It
// returns the message as it is now; ErrNotFound or a *StateError else.
func (s *Store) Redrive(ctx context.Context, id message.ID, expiresAt *time.Time) (message.Message, error) {
	m, _, err := s.moveOne(ctx, id, message.Redrive, nil, func(q *dbsqlc.Queries) (dbsqlc.Message, error) {
		return q.RedriveMessage(ctx, expiresAt, id, texts(message.Redrive.From))
	})
	return m, err
}

// moveOne makes a user's move; box may be nil for a move without an event.
func (s *Store) moveOne(ctx context.Context, id message.ID, move message.Transition, box EncodeOutbox, update func(*dbsqlc.Queries) (dbsqlc.Message, error)) (m message.Message, outboxID int64, err error) {
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
		if m = toMessage(row); box == nil {
			return nil
		}
		outboxID, err = put(ctx, last, []message.Message{m}, box)
		return err
	})
	if err != nil {
		return message.Message{}, 0, fmt.Errorf("%s message %s: %w", move.Name, id, err)
	}
	return m, outboxID, nil
}
