package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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

func drafts(n int, edit ...func(*message.Message)) []message.Message {
	group := make([]message.Message, n)
	for i := range group {
		group[i] = draft(edit...)
	}
	return group
}

func box(moved []message.Message) []byte { return fmt.Appendf(nil, "%d moved", len(moved)) }

func tickParams(limit int) db.TickParams {
	return db.TickParams{
		Destination: message.DefaultDestination, Limit: limit, Lease: lease, BatchSize: db.DefaultBatchSize,
		EncodeOutbox: func(c db.Claim) []byte { return fmt.Appendf(nil, "%d claimed", c.Size()) },
	}
}

// provisioned is a store on a database of its own, with a schedule.
func provisioned(t *testing.T, interval time.Duration) (*db.Store, *pgxpool.Pool) {
	t.Helper()
	pool := dbtest.Pool(t)
	store := db.NewStore(pool)
	require.NoError(t, store.ProvisionSchedule(t.Context(), interval, 0))
	return store, pool
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// insert stores a message and returns it.
func insert(t *testing.T, store *db.Store, edit ...func(*message.Message)) message.Message {
	t.Helper()
	stored, _, err := store.Insert(t.Context(), []message.Message{draft(edit...)}, box)
	require.NoError(t, err)
	require.True(t, stored[0].Created)
	return stored[0].Message
}

func get(t *testing.T, store *db.Store, id message.ID) message.Message {
	t.Helper()
	m, err := store.Get(t.Context(), id)
	require.NoError(t, err)
	return m
}

// claim runs a tick and finishes it, as if everything was published.
func claim(t *testing.T, store *db.Store, limit int, lost ...db.ExpiredLease) db.TickResult {
	t.Helper()
	params := tickParams(limit)
	params.Reclaim = lost
	tick, err := store.Tick(t.Context(), params)
	require.NoError(t, err)
	if tick.OutboxID != 0 {
		require.NoError(t, store.FinishClaim(t.Context(), tick.OutboxID, tick.Size()))
	}
	return tick
}

// queued stores a message and claims it.
func queued(t *testing.T, store *db.Store, edit ...func(*message.Message)) message.Message {
	t.Helper()
	m := insert(t, store, edit...)
	tick := claim(t, store, 1)
	require.Len(t, tick.Fresh, 1)
	require.Equal(t, m.ID, tick.Fresh[0].ID)
	return tick.Fresh[0]
}

// outcome is what a sender tells about the message's present claim.
func outcome(m message.Message, move message.Transition, edit ...func(*db.Outcome)) db.Outcome {
	number := m.Attempts + 1
	o := db.Outcome{
		ID: m.ID, Transition: move, Version: m.Version + 1, ClaimNumber: m.ClaimNumber, NextClaimNumber: m.ClaimNumber, DeliveryCount: 1,
		Attempts: number, EndedAt: time.Now(), NextAttemptAt: time.Now().Add(time.Hour), Error: "503 Service Unavailable",
		Attempt: &message.Attempt{Number: number, StartedAt: time.Now(), Outcome: message.OutcomeRetry, HTTPStatus: 503},
	}
	if move.Name == message.Succeed.Name {
		o.Error, o.ExternalID, o.Attempt.Outcome, o.Attempt.HTTPStatus = "", "x-1", message.OutcomeSuccess, 202
	}
	for _, e := range edit {
		e(&o)
	}
	return o
}

func record(t *testing.T, store *db.Store, outcomes ...db.Outcome) (moved int) {
	t.Helper()
	moved, err := store.Record(t.Context(), outcomes, lease)
	require.NoError(t, err)
	return moved
}

func TestAMessageGoesThroughEveryTable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, _ := provisioned(t, time.Hour)

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
	require.EqualValues(t, 1, tick.Fresh[0].ClaimNumber)

	again, err := store.Tick(ctx, tickParams(10))
	require.NoError(t, err)
	require.False(t, again.Ran, "no tick while a claim is unpublished")
	require.NoError(t, store.FinishClaim(ctx, tick.OutboxID, 2))
	again, err = store.Tick(ctx, tickParams(10))
	require.NoError(t, err)
	require.False(t, again.Ran)
	require.InDelta(t, time.Hour, again.Wait, float64(time.Minute))

	id := tick.Fresh[0].ID
	loaded, err := store.LoadQueued(ctx, []message.ID{id}, 1<<20)
	require.NoError(t, err)
	require.Contains(t, loaded.Messages, id)
	require.Equal(t, 1, record(t, store, outcome(tick.Fresh[0], message.Succeed)))

	m := get(t, store, id)
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
