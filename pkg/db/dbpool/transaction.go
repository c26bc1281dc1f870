package dbpool

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// begin sets the isolation level, because a role may have another default. A
// stricter level hides what was committed after the first statement, and a
// transaction that waited for a stop would still emit after it.
const begin = "begin isolation level read committed, read write"

// rollbackWait is the longest time that a rollback may take.
const rollbackWait = time.Second

// InTx runs work in one READ COMMITTED transaction and rolls it back if work
// fails. Round trips are most of the cost of a small transaction, so BEGIN and
// the opening statements are sent with the first statement, and COMMIT is sent
// with the statement that work runs on last. The results of the opening
// statements are not read. After a statement on last, work must run no other.
func InTx(ctx context.Context, pool *pgxpool.Pool, opening []string, work func(q, last *dbsqlc.Queries) error) error {
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pooled.Release()
	tx := newTransaction(pooled.Conn(), opening)
	defer tx.abandon(ctx)
	if err := work(dbsqlc.New(tx), dbsqlc.New(lastOf{tx})); err != nil {
		return err
	}
	if !tx.begun || tx.committed {
		return nil
	}
	tag, err := tx.conn.Exec(ctx, "commit")
	if err != nil {
		return err
	}
	return tx.ended(tag)
}

// transaction is a connection whose first statement begins a transaction. It is
// not safe for concurrent use.
type transaction struct {
	conn      *pgx.Conn
	opening   []string // sent with BEGIN
	begun     bool
	committed bool
}

// newTransaction returns a transaction that its first statement begins.
func newTransaction(conn *pgx.Conn, opening []string) *transaction {
	if settings := settingsOf(conn); settings != "" {
		opening = append([]string{settings}, opening...)
	}
	return &transaction{conn: conn, opening: opening}
}

// abandon rolls back a transaction that has begun and is not committed.
func (t *transaction) abandon(ctx context.Context) {
	if t.begun && !t.committed {
		t.rollback(ctx)
	}
}

// lastOf is a transaction that ends with the next statement. If that statement
// fails, Postgres skips the COMMIT after it.
type lastOf struct{ *transaction }

// ended reads the result of a COMMIT.
func (t *transaction) ended(answer pgconn.CommandTag) error {
	if t.committed = answer.String() == "COMMIT"; !t.committed {
		return errRolledBack
	}
	return nil
}

// rollback ends a failed transaction. If the rollback fails too, the connection
// is not idle, and the pool closes it.
func (t *transaction) rollback(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
	defer cancel()
	_, _ = t.conn.Exec(ctx, "rollback")
}

// send sends a statement, with BEGIN before it if it is the first and COMMIT
// after it if it is the last, and reads the results of BEGIN and the opening
// statements.
func (t *transaction) send(ctx context.Context, sql string, args []any, last bool) (*answer, error) {
	var batch pgx.Batch
	first := !t.begun
	t.begun = true
	if first {
		batch.Queue(begin)
		for _, statement := range t.opening {
			batch.Queue(statement)
		}
	}
	batch.Queue(sql, args...)
	if last {
		batch.Queue("commit")
	}
	a := &answer{results: t.conn.SendBatch(ctx, &batch), tx: t, last: last}
	if !first {
		return a, nil
	}
	for range 1 + len(t.opening) {
		if _, err := a.results.Exec(); err != nil {
			_ = a.results.Close() // the same error
			return nil, err
		}
	}
	return a, nil
}

// answer is the results of a statement and of those that were sent with it.
type answer struct {
	results pgx.BatchResults
	tx      *transaction
	last    bool
}

// end reads the remaining results after the statement's own, so that the
// connection can be used again.
func (a *answer) end() error {
	var err error
	if a.last {
		var tag pgconn.CommandTag
		if tag, err = a.results.Exec(); err == nil {
			err = a.tx.ended(tag)
		}
	}
	return errors.Join(err, a.results.Close())
}

func (t *transaction) exec(ctx context.Context, sql string, args []any, last bool) (pgconn.CommandTag, error) {
	a, err := t.send(ctx, sql, args, last)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := a.results.Exec()
	if err != nil {
		_ = a.results.Close() // the same error
		return tag, err
	}
	return tag, a.end()
}

func (t *transaction) query(ctx context.Context, sql string, args []any, last bool) (pgx.Rows, error) {
	a, err := t.send(ctx, sql, args, last)
	if err != nil {
		return nil, err
	}
	rows, err := a.results.Query() //nolint:rowserrcheck // its reader does
	if err != nil {
		_ = a.results.Close() // the same error
		return nil, err
	}
	return &answerRows{Rows: rows, answer: a}, nil
}

// Exec implements dbsqlc.DBTX.
func (t *transaction) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if t.begun {
		return t.conn.Exec(ctx, sql, args...)
	}
	return t.exec(ctx, sql, args, false)
}

// Query implements dbsqlc.DBTX.
func (t *transaction) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t.begun {
		return t.conn.Query(ctx, sql, args...) //nolint:rowserrcheck // its reader does
	}
	return t.query(ctx, sql, args, false) //nolint:rowserrcheck // its reader does
}

// QueryRow implements dbsqlc.DBTX.
func (t *transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t.begun {
		return t.conn.QueryRow(ctx, sql, args...)
	}
	rows, err := t.query(ctx, sql, args, false) //nolint:rowserrcheck // Scan does
	return answerRow{rows, err}
}

// Exec implements dbsqlc.DBTX.
func (l lastOf) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return l.exec(ctx, sql, args, true)
}

// Query implements dbsqlc.DBTX.
func (l lastOf) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return l.query(ctx, sql, args, true) //nolint:rowserrcheck // its reader does
}

// QueryRow implements dbsqlc.DBTX.
func (l lastOf) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := l.query(ctx, sql, args, true) //nolint:rowserrcheck // Scan does
	return answerRow{rows, err}
}

// answerRows are the rows of a statement that was sent with others. Reading all
// of them, or closing them, ends the answer.
type answerRows struct {
	pgx.Rows
	answer *answer
	closed bool
	err    error // of the statements that were sent with it
}

func (r *answerRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *answerRows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.Rows.Close()
	if r.Rows.Err() != nil {
		_ = r.answer.results.Close() // the same error
		return
	}
	r.err = r.answer.end()
}

func (r *answerRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

// answerRow is the only row of a statement that was sent with others.
type answerRow struct {
	rows pgx.Rows
	err  error
}

func (r answerRow) Scan(into ...any) error {
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
