package ingest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestABulkRetryThatRunsOutOfTimeSaysSo(t *testing.T) {
	t.Parallel()
	all := &messages{store: db.NewStore(dbtest.Pool(t))}
	done, err := all.RetryMany(t.Context(), bulkRetry{}, time.Now())
	require.NoError(t, err)
	require.True(t, done.More)
	require.JSONEq(t, `{"matched":0,"retried":0,"dryRun":false,"more":true}`, string(message.EncodeJSON(done)))
}
