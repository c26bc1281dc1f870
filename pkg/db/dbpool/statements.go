package dbpool

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// statements runs each statement on any connection of a pool. Behind a pooler,
// each one is a transaction with the settings of the pool, in one round trip.
type statements struct{ pool *pgxpool.Pool }

// Statements runs single statements, each on any connection of the pool. It is
// safe for concurrent use.
func Statements(pool *pgxpool.Pool) dbsqlc.DBTX { return statements{pool} }

// Exec implements dbsqlc.DBTX.
func (s statements) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	defer conn.Release()
	if settingsOf(conn.Conn()) == "" {
		return conn.Exec(ctx, sql, args...)
	}
	tx := newTransaction(conn.Conn(), nil)
	defer tx.abandon(ctx)
	return lastOf{tx}.Exec(ctx, sql, args...)
}

// Query implements dbsqlc.DBTX.
func (s statements) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	var rows pgx.Rows
	release := conn.Release
	if settingsOf(conn.Conn()) == "" {
		rows, err = conn.Query(ctx, sql, args...) //nolint:rowserrcheck // its reader does
	} else {
		tx := newTransaction(conn.Conn(), nil)
		release = func() {
			tx.abandon(ctx)
			conn.Release()
		}
		rows, err = lastOf{tx}.Query(ctx, sql, args...) //nolint:rowserrcheck // its reader does
	}
	if err != nil {
		release()
		return nil, err
	}
	return &heldRows{Rows: rows, release: release}, nil
}

// QueryRow implements dbsqlc.DBTX.
func (s statements) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := s.Query(ctx, sql, args...) //nolint:rowserrcheck // Scan does
	return answerRow{rows, err}
}

// heldRows return the connection to the pool when they are read or closed.
type heldRows struct {
	pgx.Rows
	release func()
}

func (r *heldRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *heldRows) Scan(into ...any) error {
	err := r.Rows.Scan(into...)
	if err != nil {
		r.Close()
	}
	return err
}

func (r *heldRows) Close() {
	r.Rows.Close()
	if r.release != nil {
		r.release()
		r.release = nil
	}
}
