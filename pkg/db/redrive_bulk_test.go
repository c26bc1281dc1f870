package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestABulkRetryWalksInBatches(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Minute)
	_, _, err := store.Insert(t.Context(), drafts(25), box)
	require.NoError(t, err)
	exec(t, pool, `UPDATE messages SET status = 'FAILED', attempts = 4, expires_at = now()`)
	held := inState(t, store, pool, message.Failed)
	inState(t, store, pool, message.Sent)
	inState(t, store, pool, message.Queued)

	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM messages WHERE id = $1 FOR UPDATE`, held.ID)
	require.NoError(t, err)

	count, err := store.CountRedrivable(t.Context(), db.RedriveFilter{})
	require.NoError(t, err)
	require.EqualValues(t, 26, count)
	var after message.ID
	for _, want := range []int{10, 10, 5, 0} {
		var moved []message.ID
		moved, after, err = store.RedriveBatch(t.Context(), db.RedriveFilter{}, after, 10)
		require.NoError(t, err)
		require.Len(t, moved, want)
	}
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, message.Failed, get(t, store, held.ID).Status, "somebody else had it")

	pending, err := store.List(t.Context(), db.Filter{Statuses: []message.Status{message.Pending}, Limit: 100})
	require.NoError(t, err)
	require.Len(t, pending, 25)
	for _, m := range pending {
		require.Equal(t, 4, m.BudgetStart, "a new budget")
		require.Nil(t, m.ExpiresAt)
	}
}

func TestABulkRetryTakesOnlyWhatItIsTold(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Minute)
	states := map[message.Status]message.ID{}
	for _, status := range message.Statuses() {
		states[status] = inState(t, store, pool, status).ID
	}
	other := inState(t, store, pool, message.Failed).ID
	exec(t, pool, `UPDATE messages SET destination = 'other', created_at = created_at - interval '1 hour' WHERE id = $1`, other)
	hence, ago := time.Now().Add(time.Minute), time.Now().Add(-time.Minute)
	for _, c := range []struct {
		filter db.RedriveFilter
		want   int
	}{
		{db.RedriveFilter{}, 4},
		{db.RedriveFilter{Statuses: []message.Status{message.Failed}}, 2},
		{db.RedriveFilter{Statuses: []message.Status{message.Cancelled, message.Expired}}, 2},
		{db.RedriveFilter{Statuses: []message.Status{message.Sent, message.Queued}}, 0},
		{db.RedriveFilter{Destination: "other"}, 1},
		{db.RedriveFilter{CreatedBefore: &ago}, 1},
		{db.RedriveFilter{CreatedAfter: &ago}, 3},
		{db.RedriveFilter{CreatedAfter: &hence}, 0},
		{db.RedriveFilter{CreatedAfter: &ago, CreatedBefore: &hence, Statuses: []message.Status{message.Expired}}, 1},
	} {
		count, err := store.CountRedrivable(t.Context(), c.filter)
		require.NoError(t, err)
		require.EqualValues(t, c.want, count, "%+v", c.filter)
	}
	moved, last, err := store.RedriveBatch(t.Context(), db.RedriveFilter{Statuses: []message.Status{message.Expired}}, message.ID{}, 10)
	require.NoError(t, err)
	require.Len(t, moved, 1)
	require.Equal(t, states[message.Expired], last)
	for status, id := range states {
		want := status
		if status == message.Expired {
			want = message.Pending
		}
		require.Equal(t, want, get(t, store, id).Status)
	}
}

// TestABulkRetryNeedNotLookAtWhatWasSent keeps the two statements on the index
// that was made for them.
func TestABulkRetryNeedNotLookAtWhatWasSent(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Minute)
	_, _, err := store.Insert(t.Context(), drafts(2000), box)
	require.NoError(t, err)
	exec(t, pool, `UPDATE messages SET status = CASE WHEN random() < 0.01 THEN 'FAILED' ELSE 'SENT' END::message_status`)
	exec(t, pool, `ANALYZE messages`)
	var plan string
	require.NoError(t, pool.QueryRow(t.Context(), `EXPLAIN (FORMAT JSON) SELECT id FROM messages
		WHERE id > '00000000-0000-0000-0000-000000000000' AND status IN ('FAILED', 'CANCELLED', 'EXPIRED') AND status::text = ANY('{FAILED}'::text[])
		ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED`).Scan(&plan))
	require.Contains(t, plan, "messages_redrivable")
}
