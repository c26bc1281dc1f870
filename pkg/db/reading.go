package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Get returns one message, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id message.ID) (message.Message, error) {
	row, err := s.queries.GetMessage(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return message.Message{}, fmt.Errorf("get message %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return message.Message{}, fmt.Errorf("get message %s: %w", id, err)
	}
	return toMessage(row), nil
}

// Attempts returns a message's attempts, oldest first, or ErrNotFound when
// there is no such message.
func (s *Store) Attempts(ctx context.Context, id message.ID) ([]message.Attempt, error) {
	rows, err := s.queries.ListAttempts(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("list attempts of message %s: %w", id, err)
	}
	if len(rows) == 0 {
		if _, err := s.Get(ctx, id); err != nil {
			return nil, err
		}
	}
	attempts := make([]message.Attempt, len(rows))
	for i, row := range rows {
		attempts[i] = message.Attempt{
			Number:     int(row.Number),
			StartedAt:  row.StartedAt,
			Duration:   time.Duration(row.DurationUs) * time.Microsecond,
			Outcome:    row.Outcome,
			HTTPStatus: int(value(row.HttpStatus)),
			Error:      value(row.Error),
			Response:   value(row.Response),
			Unsent:     row.Unsent,
		}
	}
	return attempts, nil
}

// States returns the state of those of the ids that exist.
func (s *Store) States(ctx context.Context, ids []message.ID) ([]message.Snapshot, error) {
	rows, err := s.queries.ListStates(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read %d states: %w", len(ids), err)
	}
	states := make([]message.Snapshot, len(rows))
	for i, row := range rows {
		states[i] = message.Snapshot{ID: row.ID, Status: row.Status, ExternalID: value(row.ExternalID), SentAt: row.SentAt, UpdatedAt: row.UpdatedAt, Version: row.Version}
	}
	return states, nil
}
