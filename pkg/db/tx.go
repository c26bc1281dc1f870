package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// rollbackWait bounds the rollback of a transaction whose work failed.
const rollbackWait = time.Second

// errRolledBack means that Postgres answered a COMMIT with a ROLLBACK: a
// statement had failed, and its error was passed over.
var errRolledBack = errors.New("the transaction was rolled back")

// inTx runs work in one transaction, which is rolled back when work fails.
// BEGIN travels with the first statement: with few messages it is the round
// trips that a transaction costs.
func (s *Store) inTx(ctx context.Context, work func(*dbsqlc.Queries) error) (err error) {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pooled.Release()
	tx := &transaction{conn: pooled.Conn()}
	committed := false
	defer func() {
		if tx.begun && !committed {
			tx.rollback(ctx)
		}
	}()
	if err := work(dbsqlc.New(tx)); err != nil {
		return err
	}
	if !tx.begun {
		return nil
	}
	tag, err := tx.conn.Exec(ctx, "commit")
	if err != nil {
		return err
	}
	committed = true
	if tag.String() != "COMMIT" {
		return errRolledBack
	}
	return nil
}

// transaction is a connection whose first statement begins a transaction. It
// is for one goroutine.
type transaction struct {
	conn  *pgx.Conn
	begun bool
}

// rollback ends what failed. A connection on which even that fails is not
// idle, and the pool closes it.
func (t *transaction) rollback(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
	defer cancel()
	_, _ = t.conn.Exec(ctx, "rollback")
}

// begin sends BEGIN and a statement together and reads the answer to the
// first.
func (t *transaction) begin(ctx context.Context, sql string, args []any) (pgx.BatchResults, error) {
	t.begun = true
	var both pgx.Batch
	both.Queue("begin")
	both.Queue(sql, args...)
	results := t.conn.SendBatch(ctx, &both)
	if _, err := results.Exec(); err != nil {
		_ = results.Close() // the same error
		return nil, err
	}
	return results, nil
}

// Exec implements dbsqlc.DBTX.
func (t *transaction) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if t.begun {
		return t.conn.Exec(ctx, sql, args...)
	}
	results, err := t.begin(ctx, sql, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	return tag, errors.Join(err, results.Close())
}

// Query implements dbsqlc.DBTX.
func (t *transaction) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t.begun {
		return t.conn.Query(ctx, sql, args...) //nolint:rowserrcheck // its reader does
	}
	results, err := t.begin(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	rows, err := results.Query() //nolint:rowserrcheck // its reader does
	if err != nil {
		_ = results.Close() // the same error
		return nil, err
	}
	return &firstRows{Rows: rows, results: results}, nil
}

// QueryRow implements dbsqlc.DBTX.
func (t *transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t.begun {
		return t.conn.QueryRow(ctx, sql, args...)
	}
	rows, err := t.Query(ctx, sql, args...) //nolint:rowserrcheck // Scan does
	return firstRow{rows, err}
}

// firstRows are the rows of the first statement. Closing them leaves the
// connection free for the next.
type firstRows struct {
	pgx.Rows
	results pgx.BatchResults
	closed  error
}

func (r *firstRows) Close() {
	r.Rows.Close()
	r.closed = r.results.Close()
}

func (r *firstRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.closed
}

// firstRow is the one row of the first statement.
type firstRow struct {
	rows pgx.Rows
	err  error
}

func (r firstRow) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	found := r.rows.Next()
	var err error
	if found {
		err = r.rows.Scan(into...)
	}
	r.rows.Close()
	switch {
	case err != nil:
		return err
	case r.rows.Err() != nil:
		return r.rows.Err()
	case !found:
		return pgx.ErrNoRows
	}
	return nil
}
