package db_test

import (
	"context"
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Half of rapid's own number: each step takes several round trips to Postgres.
// -rapid.checks on the command line wins.
var _ = flag.Set("rapid.checks", "50")

// Whatever several dispatchers, their crashes, relays, users and Postgres'
// clock do in any order: between the end of one emission and the beginning of
// the next lies an interval, no claim is larger than the batch, nothing is
// claimed while stopped, and a tick that is due runs.
func TestThePaceHoldsWhateverHappensInAnyOrder(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		p := newPacing(t, store, pool)
		t.Repeat(map[string]func(*rapid.T){
			"tick":        p.tick,
			"race":        p.race,
			"publish":     p.publish,
			"finish":      p.finish,
			"crash":       p.crash,
			"relay":       p.relay,
			"lose":        p.lose,
			"time passes": p.timePasses,
			"set back":    p.setBack,
			"stop":        func(t *rapid.T) { p.setRunning(t, false) },
			"start":       func(t *rapid.T) { p.setRunning(t, true) },
			"configure":   p.configure,
			"provision":   p.provision,
		})
		p.goesOn(t)
	})
}

const (
	owners    = 5 * time.Second // how long the owner of a claim may publish it
	abandoned = 6 * time.Second // then it is anybody's
)

// pacing is the schedule as it should be. Its time is the true time: that of
// Postgres' clock, and what was let pass by moving every stored time back.
type pacing struct {
	store *db.Store
	pool  *pgxpool.Pool

	passed   time.Duration // let pass so far
	running  bool
	interval time.Duration
	batch    int
	applied  [2]int // what provision was given last: seconds and batch size

	ticked   time.Time     // the end of the last tick; zero before the first
	shortest time.Duration // of the intervals in force since then
	longest  time.Duration
	back     bool // the clock was set back since then

	open  *emission
	late  []int64 // outbox rows whose owner may still finish them
	fresh int     // messages that are pending
}

// emission is a claim that is made and not finished.
type emission struct {
	outbox    int64
	size      int
	claimed   time.Time
	owned     bool // its owner lives
	published bool
}

func newPacing(t *rapid.T, store *db.Store, pool *pgxpool.Pool) *pacing {
	p := &pacing{store: store, pool: pool, running: true, interval: time.Minute, batch: 2}
	p.shortest, p.longest = p.interval, p.interval
	p.exec(t, "TRUNCATE messages, outbox, schedule, status_counts")
	p.applied = [2]int{60, 2}
	require.NoError(t, store.ProvisionSchedule(t.Context(), p.interval, p.batch))
	return p
}

func (p *pacing) exec(t *rapid.T, sql string, args ...any) {
	_, err := p.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (p *pacing) now(t *rapid.T) time.Time {
	var now time.Time
	require.NoError(t, p.pool.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&now))
	return now.Add(p.passed)
}

func (p *pacing) next(t *rapid.T) (next *time.Time) {
	require.NoError(t, p.pool.QueryRow(t.Context(), "SELECT next_tick_at FROM schedule").Scan(&next))
	return next
}

// shift moves every stored time: back, and it is as if time had passed;
// forward, and it is as if Postgres' clock had been set back.
func (p *pacing) shift(t *rapid.T, by time.Duration) {
	p.exec(t, "UPDATE schedule SET next_tick_at = next_tick_at + $1::interval, last_tick_at = last_tick_at + $1", by)
	p.exec(t, "UPDATE outbox SET created_at = created_at + $1::interval, not_before = not_before + $1", by)
	p.exec(t, "UPDATE messages SET deliver_at = deliver_at + least($1::interval, '0'), lease_until = lease_until + $1", by)
}

func (p *pacing) timePasses(t *rapid.T) {
	by := rapid.OneOf(
		rapid.Int64Range(1, int64(10*time.Second)),
		rapid.Int64Range(1, int64(3*p.interval)),
		rapid.Just(int64(p.interval)),
	).Draw(t, "by")
	p.shift(t, -time.Duration(by).Round(time.Microsecond))
	p.passed += time.Duration(by).Round(time.Microsecond)
}

func (p *pacing) setBack(t *rapid.T) {
	p.shift(t, time.Duration(rapid.IntRange(1, 7200).Draw(t, "seconds"))*time.Second)
	p.back = true
}

func (p *pacing) supply(t *rapid.T) {
	if p.fresh >= 10 {
		return
	}
	_, _, err := p.store.Insert(t.Context(), drafts(20), box)
	require.NoError(t, err)
	p.fresh += 20
}

func (p *pacing) tick(t *rapid.T) {
	p.supply(t)
	before := p.now(t)
	tick, err := p.store.Tick(t.Context(), tickParams(1000))
	require.NoError(t, err)
	p.ran(t, tick, before)
}

// race is several dispatchers at once.
func (p *pacing) race(t *rapid.T) {
	p.supply(t)
	before := p.now(t)
	var (
		together sync.WaitGroup
		mu       sync.Mutex
		ran      []db.TickResult
		failed   atomic.Pointer[error]
	)
	for range 4 {
		together.Go(func() {
			tick, err := p.store.Tick(context.Background(), tickParams(1000))
			if err != nil {
				failed.Store(&err)
			}
			mu.Lock()
			defer mu.Unlock()
			if tick.Ran {
				ran = append(ran, tick)
			}
		})
	}
	together.Wait()
	require.Nil(t, failed.Load())
	require.LessOrEqual(t, len(ran), 1, "dispatchers that ticked at once")
	ran = append(ran, db.TickResult{Running: p.running})
	p.ran(t, ran[0], before)
}

// ran holds a tick against what may and what must be.
func (p *pacing) ran(t *rapid.T, tick db.TickResult, before time.Time) {
	after := p.now(t)
	if !tick.Ran {
		due := p.ticked.IsZero() || before.Sub(p.ticked) >= p.longest
		require.False(t, due && p.running && p.open == nil && !p.back, "a tick that is due was left out")
		if tick.Wait == p.interval {
			p.back = false // it was pulled back: an interval from now at most
			p.ticked, p.longest = after, max(p.longest, p.interval)
		}
		return
	}
	require.True(t, p.running, "a claim while stopped")
	require.Nil(t, p.open, "a claim beside one that is not published")
	if !p.ticked.IsZero() {
		require.GreaterOrEqual(t, after.Sub(p.ticked), p.shortest, "since the last emission")
	}
	require.Equal(t, p.batch, tick.Size())
	p.fresh -= tick.Size()
	p.open = &emission{outbox: tick.OutboxID, size: tick.Size(), claimed: before, owned: true}
	p.shortest, p.longest, p.back = p.interval, p.interval, false
}

// publish is the owner's, who has a few seconds for it.
func (p *pacing) publish(t *rapid.T) {
	if p.open == nil || !p.open.owned || p.now(t).Sub(p.open.claimed) > owners {
		t.Skip()
	}
	p.open.published = true
}

// finish is the owner's too: for as long as it lives, so perhaps when a relay
// has long done it and others have ticked since.
func (p *pacing) finish(t *rapid.T) {
	switch {
	case p.open != nil && p.open.owned && p.open.published:
		p.finished(t, func() error { return p.store.FinishClaim(t.Context(), p.open.outbox, p.open.size) })
	case len(p.late) > 0:
		before := p.next(t)
		outbox := p.late[0]
		p.late = p.late[1:]
		require.NoError(t, p.store.FinishClaim(t.Context(), outbox, 1))
		require.Equal(t, before, p.next(t), "whoever finishes second changes nothing")
	default:
		t.Skip()
	}
}

func (p *pacing) finished(t *rapid.T, finish func() error) {
	ended := p.now(t)
	require.NoError(t, finish())
	p.ticked, p.shortest, p.longest, p.back = ended, p.interval, p.interval, false
	p.open = nil
}

func (p *pacing) crash(t *rapid.T) {
	if p.open == nil || !p.open.owned {
		t.Skip()
	}
	p.open.owned = false
}

// relay is any dispatcher's; it may fail to publish.
func (p *pacing) relay(t *rapid.T) {
	p.relayOnce(t, rapid.Bool().Draw(t, "publishes"))
}

func (p *pacing) relayOnce(t *rapid.T, publishes bool) {
	claims, err := p.store.AbandonedClaims(t.Context(), abandoned, 1000)
	require.NoError(t, err)
	if len(claims) == 0 {
		return
	}
	require.NotNil(t, p.open, "a relay of what is finished")
	taken, err := p.store.TakeOverClaims(t.Context(), claims, db.TakeOverParams{Age: abandoned, Lease: lease, Rewrite: rewrittenAll})
	require.NoError(t, err)
	require.Len(t, taken, 1)
	if p.open.owned { // it may still finish, and must not
		p.late = append(p.late, p.open.outbox)
		p.open.owned = false
	}
	if !publishes {
		return
	}
	p.finished(t, func() error {
		return p.store.FinishRelayedClaims(t.Context(), []db.FinishedClaim{{OutboxID: taken[0].OutboxID, Relays: taken[0].Relays, Size: p.open.size}})
	})
}

func rewrittenAll(batch []byte, _ map[message.ID]message.ClaimNumber) db.RewrittenClaim {
	return db.RewrittenClaim{Batch: batch, IDs: 1, Size: 1}
}

// lose takes the outbox row of an open claim away, as an operator may.
func (p *pacing) lose(t *rapid.T) {
	if p.open == nil {
		t.Skip()
	}
	p.exec(t, "DELETE FROM outbox WHERE id = $1", p.open.outbox)
	p.shift(t, -owners) // its owner may be publishing it
	p.passed += owners
	p.finished(t, func() error {
		closed, err := p.store.CloseLostClaim(t.Context())
		require.True(t, closed)
		return err
	})
}

func (p *pacing) setRunning(t *rapid.T, running bool) {
	changed, err := p.store.SetRunning(t.Context(), running)
	require.NoError(t, err)
	require.Equal(t, p.running != running, changed)
	p.running = running
}

func (p *pacing) configure(t *rapid.T) {
	interval := time.Duration(rapid.IntRange(1, 300).Draw(t, "seconds")) * time.Second
	batch := rapid.IntRange(1, 5).Draw(t, "batch")
	require.NoError(t, p.store.Configure(t.Context(), &interval, &batch))
	p.configured(interval, batch)
}

// provision tells the environment's values, which count where they are new.
func (p *pacing) provision(t *rapid.T) {
	given := [2]int{rapid.IntRange(1, 3).Draw(t, "minutes") * 60, rapid.IntRange(1, 3).Draw(t, "batch")}
	require.NoError(t, p.store.ProvisionSchedule(t.Context(), time.Duration(given[0])*time.Second, given[1]))
	interval, batch := p.interval, p.batch
	if given[0] != p.applied[0] {
		interval = time.Duration(given[0]) * time.Second
	}
	if given[1] != p.applied[1] {
		batch = given[1]
	}
	p.applied = given
	p.configured(interval, batch)
}

func (p *pacing) configured(interval time.Duration, batch int) {
	p.interval, p.batch = interval, batch
	p.shortest, p.longest = min(p.shortest, interval), max(p.longest, interval)
}

// goesOn says that nothing stands still for ever: everybody who lived has
// died, the clock runs, and the next tick comes.
func (p *pacing) goesOn(t *rapid.T) {
	p.setRunning(t, true)
	if p.open != nil {
		p.open.owned = false
		p.relayOnce(t, true)
	}
	if p.open != nil {
		p.shift(t, -abandoned)
		p.passed += abandoned
		p.relayOnce(t, true)
		require.Nil(t, p.open, "a claim that nobody publishes")
	}
	p.tick(t) // may find a tick that is too far ahead, and pull it back
	if p.open == nil {
		p.shift(t, -p.longest)
		p.passed += p.longest
		p.tick(t)
	}
	require.NotNil(t, p.open, "the pace has come to a standstill")
}
