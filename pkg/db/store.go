// Package db is the access to Postgres. Store runs the statements in query/*.sql,
// by which messages change their state. The packages below it open pools
// (dbpool) and apply the schema (migrate).
//
// A method that changes the state of messages takes an EncodeOutbox function,
// which returns what is to be published about them. Its result is stored in the
// outbox by the same transaction, so that a change and its event are one.
package db

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Store reads messages and changes their state. It is safe for concurrent use.
type Store struct {
	pool         *pgxpool.Pool
	reads        *pgxpool.Pool // of List
	queries      *dbsqlc.Queries
	fastPathOpen atomic.Bool // the last insert could use the fast path
	counts       *counts
	content      bool // claims and sweeps read what messages carry
	outbox       *backlog
}

// NewStore returns a Store over a pool.
func NewStore(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, reads: pool, queries: dbsqlc.New(dbpool.Statements(pool)), counts: new(counts), outbox: new(backlog)}
}

// WithReadPool returns a Store that lists messages through another pool, so that
// slow lists use up no connections that others need.
func (s *Store) WithReadPool(pool *pgxpool.Pool) *Store {
	return &Store{pool: s.pool, reads: pool, queries: s.queries, counts: s.counts, outbox: s.outbox, content: s.content}
}

// EncodeOutbox returns what the outbox stores about changed messages. It is called
// within the transaction, so it must not block.
type EncodeOutbox func(moved []message.Message) []byte

// inTx runs work in one transaction (see dbpool.InTx).
func (s *Store) inTx(ctx context.Context, work func(q, last *dbsqlc.Queries) error) error {
	return dbpool.InTx(ctx, s.pool, nil, work)
}

// writeOutbox stores what is to be published about changed messages. It returns the
// id of the row, 0 if no message changed.
func writeOutbox(ctx context.Context, q *dbsqlc.Queries, moved []message.Message, encode EncodeOutbox) (int64, error) {
	return writeFastPathOutbox(ctx, q, moved, false, encode)
}

// writeFastPathOutbox is writeOutbox for new messages. emits says whether ids are
// to be emitted.
func writeFastPathOutbox(ctx context.Context, q *dbsqlc.Queries, moved []message.Message, emits bool, encode EncodeOutbox) (int64, error) {
	if len(moved) == 0 {
		return 0, nil
	}
	id, err := q.InsertOutbox(ctx, encode(moved), emits)
	if err != nil {
		return 0, fmt.Errorf("write outbox: %w", err)
	}
	return id, nil
}
