package db_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAClaimTakesWhatIsDueByPriorityAndAge(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	now := time.Now()
	at := func(priority int, due, expires time.Duration) func(*message.Message) {
		return func(m *message.Message) {
			m.Priority, m.DeliverAt = priority, now.Add(due)
			if expires != 0 {
				e := now.Add(expires)
				m.ExpiresAt = &e
			}
		}
	}
	late := insert(t, store, at(5, -time.Second, 0))
	early := insert(t, store, at(5, -time.Minute, time.Hour))
	last := insert(t, store, at(0, -time.Hour, 0))
	first := insert(t, store, at(9, -time.Millisecond, 0))
	insert(t, store, at(9, time.Hour, 0))             // not yet due
	insert(t, store, at(9, -time.Hour, -time.Second)) // expired
	insert(t, store, at(9, -time.Hour, 0), func(m *message.Message) { m.Destination = "other" })

	// What is stored is due now at the earliest.
	exec(t, pool, `UPDATE messages SET deliver_at = deliver_at - interval '1 minute' WHERE id = ANY($1)`, []message.ID{early.ID, last.ID})

	tick := claim(t, store, 2)
	require.True(t, tick.Full)
	require.Equal(t, []message.ID{first.ID, early.ID}, ids(tick.Fresh))
	tick = claim(t, store, 10)
	require.False(t, tick.Full)
	require.Equal(t, []message.ID{late.ID, last.ID}, ids(tick.Fresh))
	require.Zero(t, claim(t, store, 10).Size())
}

func ids(messages []message.Message) []message.ID {
	out := make([]message.ID, len(messages))
	for i, m := range messages {
		out[i] = m.ID
	}
	return out
}

func TestDispatchersTogetherKeepThePace(t *testing.T) {
	t.Parallel()
	const (
		interval = 100 * time.Millisecond
		batch    = 2
		messages = 12
	)
	store, _ := provisioned(t, interval)
	_, _, err := store.Insert(t.Context(), drafts(messages), box)
	require.NoError(t, err)

	type span struct{ began, ended time.Time } // of a claim's publication
	var (
		mu      sync.Mutex
		spans   []span
		claimed = map[message.ID]int{}
		wg      sync.WaitGroup
	)
	all := func() bool { mu.Lock(); defer mu.Unlock(); return len(claimed) == messages }
	for range 20 {
		wg.Go(func() {
			for !all() {
				tick, err := store.Tick(t.Context(), tickParams(100))
				if err != nil {
					t.Error(err)
					return
				}
				if tick.OutboxID == 0 {
					continue
				}
				s := span{began: time.Now()}
				s.ended = time.Now()
				if err := store.FinishClaim(t.Context(), tick.OutboxID, tick.Size()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				spans = append(spans, s)
				for _, m := range tick.Fresh {
					claimed[m.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	require.Len(t, spans, messages/batch)
	for i := 1; i < len(spans); i++ {
		require.GreaterOrEqual(t, spans[i].began.Sub(spans[i-1].ended), interval, "the interval after tick %d", i)
	}
	for id, n := range claimed {
		require.Equal(t, 1, n, "message %s", id)
	}
}

func TestNothingIsClaimedTwiceInTheContinuousMode(t *testing.T) {
	t.Parallel()
	const messages = 500
	store, _ := provisioned(t, 0)
	for range 5 {
		_, _, err := store.Insert(t.Context(), drafts(messages/5), box)
		require.NoError(t, err)
	}
	var (
		mu      sync.Mutex
		claimed = map[message.ID]int{}
		wg      sync.WaitGroup
	)
	for range 20 {
		wg.Go(func() {
			for {
				tick, err := store.Tick(t.Context(), tickParams(7))
				if err == nil && tick.OutboxID != 0 {
					err = store.FinishClaim(t.Context(), tick.OutboxID, tick.Size())
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, m := range tick.Fresh {
					claimed[m.ID]++
				}
				done := len(claimed) == messages
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	for id, n := range claimed {
		require.Equal(t, 1, n, "message %s", id)
	}
}

func TestTheScheduleDecides(t *testing.T) {
	t.Parallel()
	ctx := t.Context()

	t.Run("an empty tick counts", func(t *testing.T) {
		t.Parallel()
		store, _ := provisioned(t, time.Hour)
		require.True(t, claim(t, store, 10).Ran)
		insert(t, store)
		require.False(t, claim(t, store, 10).Ran)
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		store, _ := provisioned(t, time.Hour)
		changed, err := store.SetRunning(ctx, false)
		require.NoError(t, err)
		require.True(t, changed)
		changed, err = store.SetRunning(ctx, false)
		require.NoError(t, err)
		require.False(t, changed)
		tick := claim(t, store, 10)
		require.False(t, tick.Ran)
		require.False(t, tick.Running)
	})
	t.Run("a tick further away than an interval is pulled back", func(t *testing.T) {
		t.Parallel()
		store, pool := provisioned(t, time.Minute)
		exec(t, pool, "UPDATE schedule SET next_tick_at = clock_timestamp() + interval '1 day'")
		tick := claim(t, store, 10)
		require.False(t, tick.Ran)
		require.Equal(t, time.Minute, tick.Wait)
		pace, err := store.Pace(ctx)
		require.NoError(t, err)
		require.InDelta(t, time.Minute, pace.Wait, float64(time.Second))
	})
	t.Run("a shorter interval counts from the last tick", func(t *testing.T) {
		t.Parallel()
		store, _ := provisioned(t, time.Hour)
		claim(t, store, 10)
		shorter, size := 10*time.Minute, 7
		require.NoError(t, store.Configure(ctx, &shorter, &size))
		overview, err := store.Overview(ctx)
		require.NoError(t, err)
		require.Equal(t, message.Duration(shorter), overview.Interval)
		require.Equal(t, size, overview.BatchSize)
		require.WithinDuration(t, overview.LastTickAt.Add(shorter), *overview.NextTickAt, time.Millisecond)
		longer := 2 * time.Hour
		require.NoError(t, store.Configure(ctx, &longer, nil))
		again, err := store.Overview(ctx)
		require.NoError(t, err)
		require.Equal(t, overview.NextTickAt, again.NextTickAt)
	})
	t.Run("the environment's values count when they change", func(t *testing.T) {
		t.Parallel()
		store, _ := provisioned(t, time.Hour)
		patched := time.Minute
		require.NoError(t, store.Configure(ctx, &patched, nil))
		require.NoError(t, store.ProvisionSchedule(ctx, time.Hour, 0))
		overview, err := store.Overview(ctx)
		require.NoError(t, err)
		require.Equal(t, message.Duration(patched), overview.Interval, "a PATCH outlives a restart")
		require.NoError(t, store.ProvisionSchedule(ctx, 2*time.Hour, 0))
		overview, err = store.Overview(ctx)
		require.NoError(t, err)
		require.Equal(t, message.Duration(2*time.Hour), overview.Interval)
	})
	t.Run("many stops at once change it once", func(t *testing.T) {
		t.Parallel()
		store, _ := provisioned(t, time.Hour)
		var wg sync.WaitGroup
		changes := make(chan bool, 20)
		for range cap(changes) {
			wg.Go(func() {
				changed, err := store.SetRunning(ctx, false)
				if err != nil {
					t.Error(err)
				}
				changes <- changed
			})
		}
		wg.Wait()
		close(changes)
		n := 0
		for changed := range changes {
			if changed {
				n++
			}
		}
		require.Equal(t, 1, n)
	})
}

func TestTheNextDueMessageIsKnown(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	_, found, err := store.NextDue(t.Context(), message.DefaultDestination, nil)
	require.NoError(t, err)
	require.False(t, found)

	insert(t, store, func(m *message.Message) { m.Priority, m.DeliverAt = 9, time.Now().Add(time.Hour) })
	insert(t, store, func(m *message.Message) { m.Priority, m.DeliverAt = 1, time.Now().Add(time.Minute) })
	wait, found, err := store.NextDue(t.Context(), message.DefaultDestination, nil)
	require.NoError(t, err)
	require.True(t, found)
	require.InDelta(t, time.Minute, wait, float64(10*time.Second))
}

func TestABadRowHoldsUpNobody(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	mixed, list := insert(t, store), insert(t, store)
	exec(t, pool, `UPDATE messages SET metadata = '{"n": 1, "s": "x"}' WHERE id = $1`, mixed.ID)
	exec(t, pool, `UPDATE messages SET metadata = '[1]' WHERE id = $1`, list.ID)
	insert(t, store)

	tick := claim(t, store, 10)

	require.Len(t, tick.Fresh, 3)
	require.Equal(t, map[string]string{"n": "1", "s": "x"}, get(t, store, mixed.ID).Metadata)
	require.Nil(t, get(t, store, list.ID).Metadata)

	_, err := pool.Exec(t.Context(), "UPDATE messages SET expires_at = 'infinity'")
	require.True(t, dbpool.BadData(err), "what can't be read can't be stored: %v", err)
}
