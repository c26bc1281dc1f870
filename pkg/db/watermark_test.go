package db_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// claimAbove is claim with a floor.
func claimAbove(t *testing.T, store *db.Store, floor *db.Watermark, limit int) []message.ID {
	t.Helper()
	params := tickParams(limit)
	params.Watermark = floor
	tick, err := store.Tick(t.Context(), params)
	require.NoError(t, err)
	if tick.OutboxID != 0 {
		require.NoError(t, store.FinishClaim(t.Context(), tick.OutboxID, tick.Size()))
	}
	return ids(tick.Fresh)
}

// TestAFloorHidesNothingForLong: a message that lies below it, because its
// transaction took so long or somebody wrote it by hand, waits for the next
// full claim, and is claimed in its turn.
func TestAFloorHidesNothingForLong(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	first := insert(t, store)
	floor := new(db.Watermark)
	require.Equal(t, []message.ID{first.ID}, claimAbove(t, store, floor, 10))

	late := insert(t, store)
	exec(t, pool, `UPDATE messages SET deliver_at = deliver_at - interval '1 hour' WHERE id = $1`, late.ID)
	next := insert(t, store)

	var claimed []message.ID
	require.Eventually(t, func() bool {
		claimed = append(claimed, claimAbove(t, store, floor, 10)...)
		return len(claimed) == 2
	}, time.Minute, 20*time.Millisecond)
	require.ElementsMatch(t, []message.ID{late.ID, next.ID}, claimed)

	// A full claim that takes an old one first goes on from there.
	fresh := insert(t, store)
	require.Equal(t, []message.ID{fresh.ID}, claimAbove(t, store, floor, 1))
	older := []message.Message{insert(t, store), insert(t, store), insert(t, store)}
	for i, m := range older {
		exec(t, pool, `UPDATE messages SET deliver_at = deliver_at - $2::interval WHERE id = $1`, m.ID, time.Duration(3-i)*time.Hour)
	}
	claimed = nil
	require.Eventually(t, func() bool {
		claimed = append(claimed, claimAbove(t, store, floor, 1)...)
		return len(claimed) == 1
	}, time.Minute, 20*time.Millisecond)
	claimed = append(claimed, claimAbove(t, store, floor, 1)...)
	claimed = append(claimed, claimAbove(t, store, floor, 1)...)
	require.Equal(t, ids(older), claimed)
}

// TestAClaimPassesOverWhatWasClaimedBefore, though beside an open snapshot
// that can't be taken out of the index.
func TestAClaimPassesOverWhatWasClaimedBefore(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	pool := open(t, url, dbpool.Options{MaxConns: 1}) // the statistics are a connection's
	store := db.NewStore(pool)
	require.NoError(t, store.ProvisionSchedule(t.Context(), 0, 0))
	const rounds, batch = 10, 500
	for range rounds {
		_, _, err := store.Insert(t.Context(), drafts(batch), box)
		require.NoError(t, err)
	}
	// However fast this goes, no claim but the last few is within the margin.
	exec(t, pool, `UPDATE messages SET deliver_at = deliver_at - interval '1 minute'`)
	held, err := open(t, url, dbpool.Options{}).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	defer func() { _ = held.Rollback(t.Context()) }()
	_, err = held.Exec(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0; SELECT count(*) FROM messages")
	require.NoError(t, err)
	read := func() (entries int64) {
		exec(t, pool, `SELECT pg_stat_force_next_flush()`)
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'messages_due'`).Scan(&entries))
		return entries
	}
	cost := func(floor *db.Watermark) int64 {
		before := read()
		require.Len(t, claimAbove(t, store, floor, 2), 2)
		return read() - before
	}

	floor := new(db.Watermark)
	for range rounds - 1 {
		require.Len(t, claimAbove(t, store, floor, batch), batch)
	}

	require.Greater(t, cost(nil), int64((rounds-1)*batch), "without a floor it reads all that was claimed")
	require.Eventually(t, func() bool { return cost(floor) < batch }, time.Minute, time.Millisecond, "a claim that is not a full one")
}
