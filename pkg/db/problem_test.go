package db_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
)

// TestAnAnswerSaysWhatIsWrongWithTheDatabase says that it is not available only
// if it is not: else people look for an outage that there is none of.
func TestAnAnswerSaysWhatIsWrongWithTheDatabase(t *testing.T) {
	t.Parallel()
	refused := func(code string) error { return &pgconn.PgError{Code: code, Message: "user=geheim"} }
	for _, c := range []struct {
		err    error
		status int
		detail string
	}{
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "the database is not available"},
		{refused("57P01"), http.StatusServiceUnavailable, "the database is not available"},
		{refused("25006"), http.StatusServiceUnavailable, "the database takes no writes"},
		{dbpool.ErrInRecovery, http.StatusServiceUnavailable, "the database is in recovery: it takes no writes"},
		{refused("42P01"), http.StatusServiceUnavailable, "the database lacks a table, or its search_path leads elsewhere: run dispatch provision"},
		{refused("42501"), http.StatusServiceUnavailable, "the database denies a right"},
		{refused("26000"), http.StatusServiceUnavailable, "the pooler in front of the database keeps no prepared statements: leave default_query_exec_mode out of its URL"},
		{dbpool.ErrStatementPooling, http.StatusServiceUnavailable, "the pooler in front of the database pools statements: transactions are needed"},
		{dbpool.ErrTooOld, http.StatusServiceUnavailable, "the database is older than PostgreSQL 14"},
		{errors.New("unable to encode []message.ID into text format"), http.StatusInternalServerError, "an unexpected error; its cause is in the service's log"},
	} {
		p := db.ProblemOf(fmt.Errorf("insert 1 messages: %w", c.err))
		require.Equal(t, c.status, p.Status, "%v", c.err)
		require.Equal(t, c.detail, p.Detail)
		require.Equal(t, c.status == http.StatusServiceUnavailable, p.RetryAfter > 0)
	}
}
