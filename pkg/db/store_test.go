package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const lease = 5 * time.Minute

func draft(edit ...func(*message.Message)) message.Message {
	m := message.Message{
		ID: message.NewID(time.Now()), To: "+905551111111", Content: "hello",
		Destination: message.DefaultDestination, Priority: message.DefaultPriority,
		Metadata: map[string]string{"order": "7"},
	}
	for _, e := range edit {
		e(&m)
	}
	return m
}

func box(moved []message.Message) []byte { return fmt.Appendf(nil, "%d moved", len(moved)) }

func tickParams(limit int) db.TickParams {
	return db.TickParams{Destination: message.DefaultDestination, Limit: limit, Lease: lease, BatchSize: db.DefaultBatchSize, Box: boxClaim}
}

func provisioned(t *testing.T, interval time.Duration) *db.Store {
	t.Helper()
	store := db.NewStore(dbtest.Pool(t))
	require.NoError(t, store.ProvisionSchedule(t.Context(), interval, 0))
	return store
}

func TestAMessageGoesThroughEveryTable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := provisioned(t, time.Hour)

	stored, outboxID, err := store.Insert(ctx, []message.Message{draft(), draft(func(m *message.Message) { m.Priority = 9 })}, box)
	require.NoError(t, err)
	require.NotZero(t, outboxID)
	require.True(t, stored[0].Created)
	require.NoError(t, store.DeletePublished(ctx, []int64{outboxID}))

	tick, err := store.Tick(ctx, tickParams(10))
	require.NoError(t, err)
	require.True(t, tick.Ran)
	require.Len(t, tick.Fresh, 2)
	require.Equal(t, stored[1].Message.ID, tick.Fresh[0].ID, "the higher priority goes first")
	require.Equal(t, message.Queued, tick.Fresh[0].Status)
	require.EqualValues(t, 1, tick.Fresh[0].Claim)
	require.Equal(t, "7", tick.Fresh[0].Metadata["order"])

	again, err := store.Tick(ctx, tickParams(10))
	require.NoError(t, err)
	require.False(t, again.Ran, "no tick while a claim is unpublished")
	require.NoError(t, store.FinishClaim(ctx, tick.OutboxID, 2))
	again, err = store.Tick(ctx, tickParams(10))
	require.NoError(t, err)
	require.False(t, again.Ran)
	require.InDelta(t, time.Hour, again.Wait, float64(time.Minute))

	id := tick.Fresh[0].ID
	loaded, err := store.LoadQueued(ctx, []message.ID{id})
	require.NoError(t, err)
	require.Contains(t, loaded, id)
	moved, err := store.Record(ctx, []db.Outcome{{
		ID: id, Move: message.Succeed, Version: 3, Claim: 1, NextClaim: 1, Delivery: 1, Attempts: 1, EndedAt: time.Now(), ExternalID: "x-1",
		Attempt: &message.Attempt{Number: 1, StartedAt: time.Now(), Outcome: message.OutcomeSuccess, HTTPStatus: 200},
	}}, lease)
	require.NoError(t, err)
	require.Equal(t, 1, moved)

	m, err := store.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, message.Sent, m.Status)
	require.Equal(t, "x-1", m.ExternalID)
	require.EqualValues(t, 3, m.Version)
	attempts, err := store.Attempts(ctx, id)
	require.NoError(t, err)
	require.Len(t, attempts, 1)

	require.NoError(t, store.FoldCounts(ctx))
	status, err := store.Overview(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, status.Counts[message.Sent])
	require.EqualValues(t, 1, status.Counts[message.Queued])
	require.EqualValues(t, 0, status.Counts[message.Pending])
	require.Nil(t, status.OldestPendingAt)
	require.Equal(t, 2, status.LastBatch)

	page, err := store.List(ctx, db.Filter{Statuses: []message.Status{message.Sent}, Limit: 10})
	require.NoError(t, err)
	require.Len(t, page, 1)
}

func TestAnIdempotencyKeyStoresOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := provisioned(t, time.Hour)
	keyed := func(m *message.Message) { m.IdempotencyKey, m.Scope, m.BodyHash = "k", "s", []byte{1} }

	stored, _, err := store.Insert(ctx, []message.Message{draft(keyed), draft(keyed), draft()}, box)
	require.NoError(t, err)
	require.True(t, stored[0].Created)
	require.False(t, stored[1].Created)
	require.Equal(t, stored[0].Message.ID, stored[1].Message.ID)
	require.True(t, stored[2].Created)

	repeat, outboxID, err := store.Insert(ctx, []message.Message{draft(keyed)}, box)
	require.NoError(t, err)
	require.Zero(t, outboxID, "nothing new, nothing to tell")
	require.Equal(t, stored[0].Message.ID, repeat[0].Message.ID)
	require.Equal(t, []byte{1}, repeat[0].Message.BodyHash)
}

func boxClaim(c db.Claim) []byte { return fmt.Appendf(nil, "%d claimed", c.Size()) }
