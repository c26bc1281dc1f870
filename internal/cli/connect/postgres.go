package connect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
)

// Patience is the time that a server has to respond.
const Patience = 5 * time.Second

// Postgres opens a pool and connects once, since a pool alone would not. A server
// that refuses the connection is ErrRefused.
func Postgres(ctx context.Context, url string) (*pgxpool.Pool, error) {
	pool, err := dbpool.Open(ctx, url, dbpool.Options{Name: "dispatch-cli", MaxConns: 4})
	if err != nil {
		return nil, exit.Usage(err)
	}
	bounded, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if err := pool.Ping(bounded); err != nil {
		dbpool.Close(pool)
		if Denied(err) || dbpool.Final(err) || errors.Is(err, dbpool.ErrInRecovery) || !dbpool.Unavailable(err) {
			return nil, fmt.Errorf("Postgres %w: %w", ErrRefused, shortError{LastLine(err), err})
		}
		return nil, exit.Unreachable(fmt.Errorf("no answer from Postgres: %w", shortError{LastLine(err), err}))
	}
	return pool, nil
}

// Denied reports whether Postgres refuses us: a wrong password, no such database,
// or a missing privilege.
func Denied(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && slices.Contains([]string{"28", "3D", "42"}, refused.Code[:2])
}

// shortError is an error with a shorter text.
type shortError struct {
	text string
	err  error
}

func (e shortError) Error() string { return e.text }

func (e shortError) Unwrap() error { return e.err }

// LastLine returns the last attempt that the driver lists in an error.
func LastLine(err error) string {
	text := strings.TrimSpace(err.Error())
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
