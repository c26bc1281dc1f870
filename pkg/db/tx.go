package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// begin does not leave the isolation to a role's default. Under a stricter one a
// transaction sees nothing of what was committed since its first statement: it
// would emit after a stop that it has waited for.
const begin = "begin isolation level read committed, read write"

// rollbackWait bounds the rollback of a transaction whose work failed.
const rollbackWait = time.Second

// errRolledBack means that Postgres answered a COMMIT with a ROLLBACK: a
// statement had failed, and its error was passed over.
var errRolledBack = errors.New("the transaction was rolled back")

// inTx runs work in one transaction, which is rolled back when work fails.
// With few messages it is the round trips that a transaction costs: BEGIN
// travels with the first statement, and COMMIT with the one that work makes by
// last.
func (s *Store) inTx(ctx context.Context, work func(q, last *dbsqlc.Queries) error) error {
	return s.inTxOpened(ctx, nil, work)
}

// inTxOpened is inTx with statements that travel with BEGIN, behind it; what
// they answer is not read.
func (s *Store) inTxOpened(ctx context.Context, opening []string, work func(q, last *dbsqlc.Queries) error) error {
	pooled, err := s.pool.Acquire(ctx)
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

// transaction is a connection whose first statement begins a transaction. It
// is for one goroutine.
type transaction struct {
	conn      *pgx.Conn
	opening   []string // travel with BEGIN
	begun     bool
	committed bool
}

// newTransaction returns a transaction that begins with its first statement.
func newTransaction(conn *pgx.Conn, opening []string) *transaction {
	if settings := settingsOf(conn); settings != "" {
		opening = append([]string{settings}, opening...)
	}
	return &transaction{conn: conn, opening: opening}
}

// abandon rolls a transaction back that has begun and is not committed.
func (t *transaction) abandon(ctx context.Context) {
	if t.begun && !t.committed {
		t.rollback(ctx)
	}
}

// lastOf is a transaction that ends with the next statement. Should that fail,
// Postgres passes over the COMMIT behind it.
type lastOf struct{ *transaction }

// ended takes the answer to a COMMIT.
func (t *transaction) ended(answer pgconn.CommandTag) error {
	if t.committed = answer.String() == "COMMIT"; !t.committed {
		return errRolledBack
	}
	return nil
}

// rollback ends what failed. A connection on which even that fails is not
// idle, and the pool closes it.
func (t *transaction) rollback(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
	defer cancel()
	_, _ = t.conn.Exec(ctx, "rollback")
}

// send sends a statement, BEGIN before it if it is the first and COMMIT behind
// it if it is the last, and reads the answer to what opens it.
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

// answer is what Postgres says to a statement and what travelled with it.
type answer struct {
	results pgx.BatchResults
	tx      *transaction
	last    bool
}

// end reads the rest, once the statement's own answer is read, and leaves the
// connection free for the next.
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

// answerRows are the rows of a statement that did not travel alone. Reading
// or closing them to the end ends the answer.
type answerRows struct {
	pgx.Rows
	answer *answer
	closed bool
	err    error // of what travelled with it
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

// answerRow is the one row of a statement that did not travel alone.
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
