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
	"github.com/message-dispatcher/dispatch/pkg/db"
)

// Patience bounds how long a server may take to answer at all.
const Patience = 5 * time.Second

// Postgres connects, since a pool by itself would not tell.
func Postgres(ctx context.Context, url string) (*pgxpool.Pool, error) {
	pool, err := db.Open(ctx, url, db.Options{Name: "dispatch-cli", MaxConns: 4})
	if err != nil {
		return nil, exit.Usage(err)
	}
	bounded, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if err := pool.Ping(bounded); err != nil {
		db.Close(pool)
		if Denied(err) || db.Final(err) || errors.Is(err, db.ErrInRecovery) || !db.Unavailable(err) {
			return nil, fmt.Errorf("Postgres %w: %w", ErrRefused, shortError{LastLine(err), err})
		}
		return nil, exit.Unreachable(fmt.Errorf("no answer from Postgres: %w", shortError{LastLine(err), err}))
	}
	return pool, nil
}

// Denied says whether Postgres answered, and does not let us: a password, a
// database that there is not, a right that is missing.
func Denied(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && slices.Contains([]string{"28", "3D", "42"}, refused.Code[:2])
}

// shortError says an error in fewer words.
type shortError struct {
	text string
	err  error
}

func (e shortError) Error() string { return e.text }

func (e shortError) Unwrap() error { return e.err }

// LastLine is the last of the tries that the driver lists.
func LastLine(err error) string {
	text := strings.TrimSpace(err.Error())
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
