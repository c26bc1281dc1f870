package db_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestALostLeaseIsClaimedAnewBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	lost, kept := queued(t, store), queued(t, store)
	exec(t, pool, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1", lost.ID)
	fresh := insert(t, store, func(m *message.Message) { m.Priority = 9 })

	found, err := store.ExpiredLeases(ctx, db.ExpiredLease{}, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, []db.ExpiredLease{{ID: lost.ID, Destination: lost.Destination, ClaimNumber: 1, ClaimsWithoutOutcome: 1, LeaseUntil: found[0].LeaseUntil, Age: found[0].Age}}, found)
	behind, err := store.ExpiredLeases(ctx, found[0], 10)
	require.NoError(t, err)
	require.Empty(t, behind)
	stale := db.ExpiredLease{ID: kept.ID, ClaimNumber: kept.ClaimNumber}
	tick := claim(t, store, 1, stale, found[0])

	require.Equal(t, []message.ID{lost.ID}, ids(tick.Reclaimed))
	require.EqualValues(t, 3, tick.Reclaimed[0].ClaimNumber, "the number between is a sender's")
	require.Empty(t, tick.Fresh, "they count in the pace")
	tick = claim(t, store, 2, stale, found[0])
	require.Empty(t, tick.Reclaimed, "its claim number has gone on")
	require.Equal(t, []message.ID{fresh.ID}, ids(tick.Fresh))
}

func TestARenewedLeaseIsNotLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	m := queued(t, store)
	exec(t, pool, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second'")
	found, err := store.ExpiredLeases(ctx, db.ExpiredLease{}, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)

	require.NoError(t, store.RenewLeases(ctx, found, lease))

	again, err := store.ExpiredLeases(ctx, db.ExpiredLease{}, 10)
	require.NoError(t, err)
	require.Empty(t, again)
	require.Empty(t, claim(t, store, 10, found...).Reclaimed)
	moved, _, err := store.GiveUp(ctx, found, box)
	require.NoError(t, err)
	require.Empty(t, moved)
	require.Equal(t, message.Queued, get(t, store, m.ID).Status)
}

func TestOnlyWhatWaitsExpires(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	emitted := queued(t, store)
	late, soon := insert(t, store), insert(t, store)
	exec(t, pool, "UPDATE messages SET expires_at = clock_timestamp() - interval '1 second' WHERE id IN ($1, $2)", emitted.ID, late.ID)
	exec(t, pool, "UPDATE messages SET expires_at = clock_timestamp() + interval '1 hour' WHERE id = $1", soon.ID)

	moved, outboxID, err := store.ExpireDue(t.Context(), 10, box)

	require.NoError(t, err)
	require.NotZero(t, outboxID)
	require.Equal(t, []message.ID{late.ID}, ids(moved))
	moved, outboxID, err = store.ExpireDue(t.Context(), 10, box)
	require.NoError(t, err)
	require.Zero(t, outboxID)
	require.Empty(t, moved)
}

func TestASweepPassesOverWhatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	m := queued(t, store)
	exec(t, pool, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second'")
	lost := []db.ExpiredLease{{ID: m.ID, ClaimNumber: m.ClaimNumber}}
	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(ctx)) }()
	_, err = tx.Exec(ctx, "SELECT 1 FROM messages FOR UPDATE") // as a recorder's update does
	require.NoError(t, err)

	require.NoError(t, store.RenewLeases(ctx, lost, lease))
	moved, _, err := store.GiveUp(ctx, lost, box)
	require.NoError(t, err)
	require.Empty(t, moved)
	require.Empty(t, claim(t, store, 10, lost...).Reclaimed)
}
