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

// LoadedMessages is the result of LoadQueued.
type LoadedMessages struct {
	Messages map[message.ID]message.Message
	Deferred map[message.ID]bool // their payloads did not fit; load them again later
}

// LoadQueued returns those of the messages that are QUEUED or RETRYING. A delivery
// may be sent only if its message is among them with no higher claim number. Once
// their payloads have that many bytes, the rest is deferred; the first message is
// always returned.
func (s *Store) LoadQueued(ctx context.Context, ids []message.ID, bytes int64) (LoadedMessages, error) {
	rows, err := s.queries.LoadQueued(ctx, max(bytes, 1), ids)
	if err != nil {
		return LoadedMessages{}, fmt.Errorf("load %d messages: %w", len(ids), err)
	}
	return queuedOf(rows), nil
}

func queuedOf(rows []dbsqlc.LoadQueuedRow) LoadedMessages {
	queued := LoadedMessages{Messages: make(map[message.ID]message.Message, len(rows)), Deferred: map[message.ID]bool{}}
	for _, row := range rows {
		if row.Later {
			queued.Deferred[row.ID] = true
			continue
		}
		queued.Messages[row.ID] = queuedMessage(row)
	}
	return queued
}

// AttemptOutcomes returns what is known of a message's attempts, in no order.
func (s *Store) AttemptOutcomes(ctx context.Context, id message.ID) ([]message.RecordedAttempt, error) {
	rows, err := s.queries.ListAttemptOutcomes(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read outcomes of attempts of message %s: %w", id, err)
	}
	recorded := make([]message.RecordedAttempt, len(rows))
	for i, row := range rows {
		recorded[i] = message.RecordedAttempt{
			ClaimNumber: row.ClaimNumber, DeliveryCount: int(row.DeliveryCount),
			Attempt: message.Attempt{HTTPStatus: int(value(row.HttpStatus)), Outcome: row.Outcome, Unsent: row.Unsent},
		}
	}
	return recorded, nil
}

// Clock returns the time of Postgres.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	now, err := s.queries.Clock(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", err)
	}
	return now, nil
}
