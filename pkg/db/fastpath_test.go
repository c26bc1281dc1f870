package db_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// arrive stores a message that may be claimed as it arrives.
func arrive(t *testing.T, store *db.Store, edit ...func(*message.Message)) (stored message.Message, outboxID int64) {
	t.Helper()
	m := draft(edit...)
	results, outboxID, err := store.InsertFastPath(t.Context(), time.Now(), []message.Message{m}, func(created []message.Message) []byte {
		stored = created[0]
		return box(created)
	})
	require.NoError(t, err)
	require.True(t, results[0].Created)
	require.Equal(t, results[0].Message, stored)
	return stored, outboxID
}

// claimOf is what a claim makes of a message, apart from times.
func claimOf(t *testing.T, pool *pgxpool.Pool, id message.ID) map[string]any {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT status::text, version, claim_number, claims_without_outcome, attempts, budget_start, next_attempt_at,
			queued_at BETWEEN created_at AND clock_timestamp() AS queued,
			lease_until - updated_at BETWEEN $2::interval AND $2::interval + interval '1 minute' AS leased
		FROM messages WHERE id = $1`, id, lease)
	require.NoError(t, err)
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
	require.NoError(t, err)
	return found
}

func TestWhatArrivesIsClaimedAsByATick(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	ticked := queued(t, store)
	require.Zero(t, claim(t, store, 10).Size())

	m, outboxID := arrive(t, store)
	require.Equal(t, message.Queued, m.Status)
	require.Equal(t, []any{ticked.Version, ticked.ClaimNumber}, []any{m.Version, m.ClaimNumber})
	require.Equal(t, claimOf(t, pool, ticked.ID), claimOf(t, pool, m.ID))
	require.Equal(t, true, claimOf(t, pool, m.ID)["leased"])
	stored := get(t, store, m.ID)
	require.Equal(t, []any{stored.Status, stored.Version, stored.ClaimNumber, stored.QueuedAt}, []any{m.Status, m.Version, m.ClaimNumber, m.QueuedAt})

	claims, err := store.UnpublishedClaims(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	require.Equal(t, outboxID, claims[0].OutboxID)
	old, err := store.UnpublishedClaims(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Empty(t, old)
	require.True(t, claim(t, store, 10).Ran, "no tick waits for it")
	require.NoError(t, store.FinishClaim(t.Context(), outboxID, 1))
	claims, err = store.UnpublishedClaims(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, claims, 1, "it is no tick's")
	require.NoError(t, store.DeletePublished(t.Context(), []int64{outboxID}))
	claims, err = store.UnpublishedClaims(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, claims)
	require.Equal(t, 1, record(t, store, outcome(m, message.Succeed)))
}

func TestWhatArrivesWaitsForATick(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		interval time.Duration
		before   func(t *testing.T, store *db.Store)
		edit     func(*message.Message)
	}{
		"in an interval":    {interval: time.Hour},
		"before any tick":   {before: func(*testing.T, *db.Store) {}},
		"while others wait": {before: func(t *testing.T, store *db.Store) { insert(t, store); insert(t, store); claim(t, store, 1) }},
		"stopped":           {before: func(t *testing.T, store *db.Store) { claim(t, store, 1); setRunning(t, store, false) }},
		"started, before any tick": {before: func(t *testing.T, store *db.Store) {
			claim(t, store, 1)
			setRunning(t, store, false)
			setRunning(t, store, true)
		}},
		"after another interval":      {before: func(t *testing.T, store *db.Store) { claim(t, store, 1); configure(t, store, time.Hour) }},
		"due later":                   {edit: func(m *message.Message) { m.DeliverAt = soon }},
		"expired":                     {edit: func(m *message.Message) { past := time.Now().Add(-time.Second); m.ExpiresAt = &past }},
		"for a destination of others": {edit: func(m *message.Message) { m.Destination = "other" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, _ := provisioned(t, c.interval)
			if c.before == nil {
				c.before = func(t *testing.T, store *db.Store) { claim(t, store, 1) }
			}
			if c.edit == nil {
				c.edit = func(*message.Message) {}
			}
			c.before(t, store)
			m, _ := arrive(t, store, c.edit)
			require.Equal(t, message.Pending, m.Status)
			require.EqualValues(t, 1, get(t, store, m.ID).Version)
			claims, err := store.UnpublishedClaims(t.Context(), 0)
			require.NoError(t, err)
			require.Empty(t, claims)
		})
	}
}

func TestAnExpiryThatLiesAheadKeepsNothingFromBeingClaimed(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	claim(t, store, 1)
	m, _ := arrive(t, store, func(m *message.Message) { later := time.Now().Add(time.Hour); m.ExpiresAt = &later })
	require.Equal(t, message.Queued, m.Status)
}

// Who stops the pace, or gives it an interval, waits for those who may be
// claiming, and none claims after.
func TestNothingIsClaimedOnArrivalOnceThePaceIsChanged(t *testing.T) {
	t.Parallel()
	interval := time.Hour
	for name, change := range map[string]func(store *db.Store) error{
		"stop":      func(store *db.Store) error { _, err := store.SetRunning(context.Background(), false); return err },
		"configure": func(store *db.Store) error { return store.Configure(context.Background(), &interval, nil) },
		"provision": func(store *db.Store) error { return store.ProvisionSchedule(context.Background(), interval, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, pool := provisioned(t, 0)
			claim(t, store, 1)

			within, goOn := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(goOn) })
			t.Cleanup(release)
			first := make(chan message.Status, 1)
			go func() {
				group := []message.Message{draft(func(m *message.Message) { m.IdempotencyKey = "1" })} // in two round trips
				results, _, err := store.InsertFastPath(context.Background(), time.Now(), group, func(created []message.Message) []byte {
					close(within)
					<-goOn
					return box(created)
				})
				if err != nil {
					t.Error(err)
					close(first)
					return
				}
				first <- results[0].Message.Status
			}()
			<-within
			changed := make(chan error, 1)
			go func() { changed <- change(store) }()
			awaitLock(t, pool, "advisory") // the change waits for what is being claimed
			during, _ := arrive(t, store)
			require.Equal(t, message.Pending, during.Status, "nobody waits behind the change")
			release()
			require.Equal(t, message.Queued, <-first)
			require.NoError(t, <-changed)
			after, _ := arrive(t, store)
			require.Equal(t, message.Pending, after.Status)
		})
	}
}

// No window of an interval holds more than a batch, though ids were emitted on
// arrival until it was set.
func TestAnIntervalBeginsWhenWhatArrivedIsPublished(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	claim(t, store, 1)
	_, outboxID := arrive(t, store)
	insert(t, store)
	configure(t, store, time.Hour)

	tick, err := store.Tick(t.Context(), tickParams(10))
	require.NoError(t, err)
	require.False(t, tick.Ran, "an id may be emitted at this moment")
	require.NoError(t, store.DeletePublished(t.Context(), []int64{outboxID}))
	tick, err = store.Tick(t.Context(), tickParams(10))
	require.NoError(t, err)
	require.False(t, tick.Ran)
	require.InDelta(t, time.Hour, tick.Wait, float64(time.Minute))
}

func TestARelayTellsWhatWasClaimedOnArrival(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	claim(t, store, 1)
	m, outboxID := arrive(t, store)
	exec(t, pool, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second'")
	taken := take(t, store, db.Delivery{ID: m.ID, ClaimNumber: m.ClaimNumber})
	require.Len(t, taken, 1)
	require.Equal(t, outboxID, taken[0].OutboxID)
	require.NoError(t, store.DeletePublished(t.Context(), []int64{outboxID}), "its owner comes late")
	require.NoError(t, store.FinishRelayedClaims(t.Context(), []db.FinishedClaim{{OutboxID: outboxID, Relays: 1, Size: 1}}))
	require.Equal(t, true, claimOf(t, pool, m.ID)["leased"], "the lease runs from the publication")
	rows, _, err := store.OutboxBacklog(t.Context())
	require.NoError(t, err)
	require.Zero(t, rows)
}

func setRunning(t *testing.T, store *db.Store, running bool) {
	t.Helper()
	_, err := store.SetRunning(t.Context(), running)
	require.NoError(t, err)
}

func configure(t *testing.T, store *db.Store, interval time.Duration) {
	t.Helper()
	require.NoError(t, store.Configure(t.Context(), &interval, nil))
}
