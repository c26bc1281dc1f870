package db

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Store reads and moves messages. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	reads   *pgxpool.Pool // of List
	queries *dbsqlc.Queries
	open    atomic.Bool // what was due was claimed as it arrived, the last time
	counts  *counts
	content bool // claims and sweeps read what messages carry
	outbox  *backlog
}

// NewStore returns a Store over a pool.
func NewStore(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, reads: pool, queries: dbsqlc.New(dbpool.Statements(pool)), counts: new(counts), outbox: new(backlog)}
}

// WithReadPool returns a Store that lists over a pool of its own, so that slow
// lists take no connection from anything else.
func (s *Store) WithReadPool(pool *pgxpool.Pool) *Store {
	return &Store{pool: s.pool, reads: pool, queries: s.queries, counts: s.counts, outbox: s.outbox, content: s.content}
}

// EncodeOutbox makes of moved messages what the outbox is to hold about them. It is
// called within the transaction, so it must not block.
type EncodeOutbox func(moved []message.Message) []byte

// inTx runs work in one transaction (see dbpool.InTx).
func (s *Store) inTx(ctx context.Context, work func(q, last *dbsqlc.Queries) error) error {
	return dbpool.InTx(ctx, s.pool, nil, work)
}

// put writes the outbox row of a move, if it moved anything.
func put(ctx context.Context, q *dbsqlc.Queries, moved []message.Message, box EncodeOutbox) (int64, error) {
	return putArrived(ctx, q, moved, false, box)
}

// putArrived is put for what arrived; emits says that ids are among it.
func putArrived(ctx context.Context, q *dbsqlc.Queries, moved []message.Message, emits bool, box EncodeOutbox) (int64, error) {
	if len(moved) == 0 {
		return 0, nil
	}
	id, err := q.InsertOutbox(ctx, box(moved), emits)
	if err != nil {
		return 0, fmt.Errorf("write outbox: %w", err)
	}
	return id, nil
}

// toMessage never fails: a row that can't be read would stand in the way of
// every batch that it is in.
func toMessage(row dbsqlc.Message) message.Message {
	return message.Message{
		ID:             row.ID,
		To:             row.Recipient,
		Content:        value(row.Content),
		Payload:        row.Payload,
		Destination:    row.Destination,
		Type:           value(row.Type),
		Priority:       int(row.Priority),
		DeliverAt:      row.DeliverAt,
		ExpiresAt:      row.ExpiresAt,
		Metadata:       toMetadata(row.Metadata),
		Status:         row.Status,
		Attempts:       int(row.Attempts),
		LastError:      value(row.LastError),
		NextAttemptAt:  row.NextAttemptAt,
		ExternalID:     value(row.ExternalID),
		CreatedAt:      row.CreatedAt,
		QueuedAt:       row.QueuedAt,
		SentAt:         row.SentAt,
		UpdatedAt:      row.UpdatedAt,
		Version:        row.Version,
		ClaimNumber:    row.ClaimNumber,
		BudgetStart:    int(row.BudgetStart),
		IdempotencyKey: value(row.IdempotencyKey),
		Scope:          value(row.IdempotencyScope),
		BodyHash:       row.BodyHash,
		Trace:          message.Trace{Parent: value(row.Traceparent), State: value(row.Tracestate)},
	}
}

// toMetadata reads an object of strings. Of one that somebody else wrote, the
// values that are no strings stay JSON; what is no object is left out.
func toMetadata(column []byte) map[string]string {
	var metadata map[string]string
	if column == nil || json.Unmarshal(column, &metadata) == nil {
		return metadata
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(column, &values) != nil {
		return nil
	}
	metadata = make(map[string]string, len(values))
	for name, raw := range values {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		metadata[name] = text
	}
	return metadata
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// set returns nil for the zero value: SQL's NULL.
func set[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
