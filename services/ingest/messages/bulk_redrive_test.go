package messages

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

func TestABulkRedriveThatRunsOutOfTimeSaysSo(t *testing.T) {
	t.Parallel()
	service := &Service{store: db.NewStore(dbtest.Pool(t))}
	done, err := service.RedriveMany(t.Context(), request.BulkRedrive{}, time.Now())
	require.NoError(t, err)
	require.True(t, done.More)
	require.JSONEq(t, `{"matched":0,"retried":0,"dryRun":false,"more":true}`, string(message.EncodeJSON(done)))
}
