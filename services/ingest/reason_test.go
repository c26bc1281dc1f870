package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
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
		{db.ErrInRecovery, http.StatusServiceUnavailable, "the database is in recovery: it takes no writes"},
		{refused("42P01"), http.StatusServiceUnavailable, "the database lacks a table, or its search_path leads elsewhere: run dispatch provision"},
		{refused("42501"), http.StatusServiceUnavailable, "the database denies a right"},
		{refused("26000"), http.StatusServiceUnavailable, "the pooler in front of the database keeps no prepared statements: leave default_query_exec_mode out of its URL"},
		{db.ErrStatementPooling, http.StatusServiceUnavailable, "the pooler in front of the database pools statements: transactions are needed"},
		{db.ErrTooOld, http.StatusServiceUnavailable, "the database is older than PostgreSQL 14"},
		{errors.New("unable to encode []message.ID into text format"), http.StatusInternalServerError, "an unexpected error; its cause is in the service's log"},
	} {
		p := problemOf(fmt.Errorf("insert 1 messages: %w", c.err))
		require.Equal(t, c.status, p.Status, "%v", c.err)
		require.Equal(t, c.detail, p.Detail)
		require.Equal(t, c.status == http.StatusServiceUnavailable, p.RetryAfter > 0)
	}
}

// broken stores nothing.
type broken struct{ err error }

func (b broken) Insert(context.Context, []message.Message, db.EncodeOutbox) ([]db.InsertResult, int64, error) {
	return nil, 0, b.err
}

func (b broken) InsertFastPath(context.Context, time.Time, []message.Message, db.EncodeOutbox) ([]db.InsertResult, int64, error) {
	return nil, 0, b.err
}

// TestErrorsOfItsOwnKeepAnIngestFromBeingReady while those of one message do not.
func TestErrorsOfItsOwnKeepAnIngestFromBeingReady(t *testing.T) {
	t.Parallel()
	for err, state := range map[error]service.State{
		errors.New("unable to encode"): service.StateDown,
		&pgconn.PgError{Code: "22021"}: service.StateOK,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCommitter(broken{err}, zap.NewNop())
			for range 2 {
				s := &submission{messages: make([]message.Message, 1), outcomes: make([]outcome, 1), done: make(chan struct{})}
				s.left.Store(1)
				c.commit([]place{{of: s}})
				require.ErrorIs(t, s.outcomes[0].err, err)
				<-time.After(5 * time.Second)
			}
			require.Equal(t, state, c.trouble.Status().State)
		})
	}
}
