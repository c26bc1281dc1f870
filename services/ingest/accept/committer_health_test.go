package accept

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
)

// broken is a store that fails.
type broken struct{ err error }

func (b broken) Insert(context.Context, []message.Message, db.EncodeOutbox) ([]db.InsertResult, int64, error) {
	return nil, 0, b.err
}

func (b broken) InsertFastPath(context.Context, time.Time, []message.Message, db.EncodeOutbox) ([]db.InsertResult, int64, error) {
	return nil, 0, b.err
}

// An error that one message causes does not.
func TestFailedTransactionsKeepIngestFromBeingReady(t *testing.T) {
	t.Parallel()
	for err, state := range map[error]service.State{
		errors.New("unable to encode"): service.StateDown,
		&pgconn.PgError{Code: "22021"}: service.StateOK,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewCommitter(CommitterConfig{Store: broken{err}, Metrics: metrics.New(service.NewMetrics()), Log: zap.NewNop()})
			for range 2 {
				s := &submission{messages: make([]message.Message, 1), results: make([]storeResult, 1), done: make(chan struct{})}
				s.pending.Store(1)
				c.commit([]item{{submission: s}})
				require.ErrorIs(t, s.results[0].err, err)
				<-time.After(5 * time.Second)
			}
			require.Equal(t, state, c.failures.Status().State)
		})
	}
}
