package db

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// statements runs each statement by itself, on any connection of a pool. Behind
// a pooler a statement travels with a transaction of its own, which has the
// settings of the pool; that is one round trip all the same.
type statements struct{ pool *pgxpool.Pool }

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

// heldRows gives the connection back when they are read or closed.
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
