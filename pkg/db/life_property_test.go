package db_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// The statements on a real Postgres are held, step by step, against a small
// model of a message's life (life_model_test.go), while users, ticks, senders,
// the recorder and the sweep do anything in any order: senders die at every
// step, outcomes are recorded late, in any order and repeatedly, and JetStream
// is put back to what it held before, or loses everything.
func TestTheLifeOfAMessageWhateverHappensInAnyOrder(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	rapid.Check(t, func(t *rapid.T) {
		w := &living{store: store, pool: pool, lives: map[message.ID]*life{}}
		w.exec(t, "DELETE FROM messages")
		w.exec(t, "UPDATE schedule SET next_tick_at = clock_timestamp()")
		w.accept(t)
		w.tick(t)
		actions := map[string]func(*rapid.T){
			"accept": w.accept, "tick": w.tick, "reclaim": w.reclaim, "give up": w.giveUp, "expire": w.expire,
			"deliver": w.deliver, "deliver again": w.deliver, "finish": w.finish, "finish another": w.finish,
			"die": w.die, "fire": w.fire, "record": w.record, "record again": w.record,
			"delay a delivery": w.delay, "arrive late": w.arriveLate,
			"relay looks": w.relayLooks, "relay raises": w.relayRaises, "relay publishes": w.relayPublishes,
			"cancel": w.cancel, "retry": w.retry, "retry all": w.retryAll,
			"keep a copy": w.keepCopy, "power loss": w.powerLoss,
		}
		for name, do := range actions {
			actions[name] = func(t *rapid.T) { do(t); w.compare(t, name) }
		}
		t.Repeat(actions)
		w.ends(t)
	})
}

// living is the lives of a few messages, and the store that they are in.
type living struct {
	store  *db.Store
	pool   *pgxpool.Pool
	ids    []message.ID
	lives  map[message.ID]*life
	backup map[message.ID]jetstream // of JetStream's directory; nil: none
}

func (w *living) exec(t *rapid.T, sql string, args ...any) {
	_, err := w.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// pick returns one of the messages of which fits is true; without one the
// step is skipped.
func (w *living) pick(t *rapid.T, fits func(*life) bool) *life {
	var fit []message.ID
	for _, id := range w.ids {
		if fits(w.lives[id]) {
			fit = append(fit, id)
		}
	}
	if len(fit) == 0 {
		t.Skip()
	}
	return w.lives[fit[rapid.IntRange(0, len(fit)-1).Draw(t, "message")]]
}

func (w *living) accept(t *rapid.T) {
	if len(w.ids) == 2 {
		t.Skip()
	}
	stored, _, err := w.store.Insert(t.Context(), drafts(1), box)
	require.NoError(t, err)
	m := stored[0].Message
	w.ids, w.lives[m.ID] = append(w.ids, m.ID), &life{id: m.ID, row: row{status: message.Pending, version: 1}}
}

func (w *living) tick(t *rapid.T) { w.claim(t, rapid.IntRange(1, 3).Draw(t, "batch"), nil) }

func (w *living) claim(t *rapid.T, batch int, lost []db.ExpiredLease) {
	params := tickParams(batch)
	params.Reclaim = lost
	tick, err := w.store.Tick(t.Context(), params)
	require.NoError(t, err)
	if tick.OutboxID != 0 {
		require.NoError(t, w.store.FinishClaim(t.Context(), tick.OutboxID, tick.Size()))
	}
	for _, m := range tick.Fresh {
		w.lives[m.ID].emitted(t)
	}
	for _, m := range tick.Reclaimed {
		w.lives[m.ID].reclaimed(t)
	}
}

// lost is what the sweep finds: the lease has run out, no copy is in the
// stream, and the recorder has passed everything.
func (w *living) lost(t *rapid.T) (*life, []db.ExpiredLease) {
	l := w.pick(t, func(l *life) bool { return l.underway() && l.js.copy == nil && l.js.parked == nil })
	w.recordAll(t, l)
	w.exec(t, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1 AND lease_until IS NOT NULL", l.id)
	lost, err := w.store.ExpiredLeases(t.Context(), db.ExpiredLease{}, 10)
	require.NoError(t, err)
	require.Equal(t, l.underway(), slices.ContainsFunc(lost, func(o db.ExpiredLease) bool { return o.ID == l.id }))
	return l, slices.DeleteFunc(lost, func(o db.ExpiredLease) bool { return o.ID != l.id })
}

func (w *living) reclaim(t *rapid.T) {
	if _, lost := w.lost(t); len(lost) > 0 {
		w.claim(t, 1, lost)
	}
}

// delay has an owner die before its publish reaches the queue.
func (w *living) delay(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return l.js.copy != nil && !l.js.copy.doubtful && l.late == nil })
	l.late, l.js.copy = l.js.copy, nil
}

func (w *living) arriveLate(t *rapid.T) {
	w.pick(t, func(l *life) bool { return l.late != nil }).arrives()
}

// relayLooks is the first half of a relay: nothing is on the queue, and what
// was told is recorded.
func (w *living) relayLooks(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return l.underway() && l.js.copy == nil && l.js.parked == nil })
	w.recordAll(t, l)
	l.looked = l.row.claim
}

// relayRaises is the second half. What was late may have arrived in between.
func (w *living) relayRaises(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return l.looked != 0 })
	w.exec(t, "DELETE FROM outbox")
	w.exec(t, "INSERT INTO outbox (is_claim, fast_path, batch, created_at) VALUES (true, true, '', now() - interval '1 hour')")
	claims, err := w.store.AbandonedClaims(t.Context(), time.Minute, 10)
	require.NoError(t, err)
	raised := 0
	_, err = w.store.TakeOverClaims(t.Context(), claims, db.TakeOverParams{
		Lease: lease, Unpublished: []db.Delivery{{ID: l.id, ClaimNumber: l.looked}},
		Rewrite: func(_ []byte, given map[message.ID]message.ClaimNumber) db.RewrittenClaim {
			raised = len(given)
			return db.RewrittenClaim{}
		},
	})
	require.NoError(t, err)
	require.Equal(t, l.underway() && l.row.claim == l.looked, raised == 1, "nothing but what is as it was looked at")
	if raised == 1 {
		l.relayed()
	}
	l.looked = 0
}

func (w *living) relayPublishes(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return l.raised != 0 && l.js.copy == nil })
	l.js.copy = &copied{claim: l.raised, doubtful: true}
	l.raised = 0
}

func (w *living) giveUp(t *rapid.T) {
	l, lost := w.lost(t)
	moved, _, err := w.store.GiveUp(t.Context(), lost, box)
	require.NoError(t, err)
	require.Len(t, moved, len(lost))
	if len(lost) > 0 {
		l.moves(t, message.Fail)
	}
}

func (w *living) expire(t *rapid.T) {
	l := w.pick(t, func(*life) bool { return true })
	w.exec(t, "UPDATE messages SET expires_at = clock_timestamp() - interval '1 second' WHERE id = $1", l.id)
	moved, _, err := w.store.ExpireDue(t.Context(), 10, box)
	require.NoError(t, err)
	w.exec(t, "UPDATE messages SET expires_at = NULL WHERE id = $1", l.id)
	require.Equal(t, l.row.status == message.Pending, len(moved) == 1)
	if len(moved) == 1 {
		l.moves(t, message.Expire)
	}
}

func (w *living) cancel(t *rapid.T) {
	l := w.pick(t, func(*life) bool { return true })
	_, _, err := w.store.Cancel(t.Context(), l.id, box)
	if !message.Cancel.Allows(l.row.status) {
		require.ErrorIs(t, err, db.ErrWrongState)
		return
	}
	require.NoError(t, err)
	l.moves(t, message.Cancel)
	if rapid.Bool().Draw(t, "purged") {
		l.js.parked = nil
	}
}

func (w *living) retry(t *rapid.T) {
	l := w.pick(t, func(*life) bool { return true })
	_, err := w.store.Redrive(t.Context(), l.id, nil)
	if !message.Redrive.Allows(l.row.status) {
		require.ErrorIs(t, err, db.ErrWrongState)
		return
	}
	require.NoError(t, err)
	l.retried(t)
}

func (w *living) retryAll(t *rapid.T) {
	retried, _, err := w.store.RedriveBatch(t.Context(), db.RedriveFilter{}, message.ID{}, 10)
	require.NoError(t, err)
	moved := len(retried)
	for _, l := range w.lives {
		if message.Redrive.Allows(l.row.status) {
			l.retried(t)
			moved--
		}
	}
	require.Zero(t, moved)
}

// deliver hands a copy to a sender, which judges it: one that somebody may
// have had before only after the recorder has passed everything.
func (w *living) deliver(t *rapid.T) {
	w.deliverTo(t, w.pick(t, func(l *life) bool { return l.js.copy != nil }))
}

func (w *living) deliverTo(t *rapid.T, l *life) {
	c := l.js.copy
	if c.doubtful {
		w.recordAll(t, l)
	}
	rows, err := w.store.LoadQueued(t.Context(), []message.ID{l.id}, 1<<20)
	require.NoError(t, err)
	m, found := rows.Messages[l.id]
	if found && !c.doubtful && (m.ClaimNumber != c.claim || m.Status != message.Queued) {
		w.recordAll(t, l)
		rows, err = w.store.LoadQueued(t.Context(), []message.ID{l.id}, 1<<20)
		require.NoError(t, err)
		m, found = rows.Messages[l.id]
	}
	c.doubtful = true
	if !found || m.ClaimNumber > c.claim {
		l.js.copy = nil
		return
	}
	l.begins(t, m, c.claim)
}

func (w *living) die(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return len(l.flying) > 0 })
	l.flying = l.flying[1:]
}

// finish is the end of a request: the outcome is told, then the next copy is
// parked, then this one is taken off; the sender may die after each.
func (w *living) finish(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return len(l.flying) > 0 })
	f := l.flying[rapid.IntRange(0, len(l.flying)-1).Draw(t, "request")]
	move := rapid.SampledFrom([]message.Transition{message.Succeed, message.Reschedule, message.Fail, message.ExpireInFlight}).Draw(t, "outcome")
	l.ended(f, move, rapid.Bool().Draw(t, "long wait"), rapid.Bool().Draw(t, "tried"), rapid.IntRange(1, 3).Draw(t, "steps"))
}

func (w *living) fire(t *rapid.T) {
	w.pick(t, func(l *life) bool { return l.js.parked != nil }).fires()
}

// record is the recorder, or several: what is told is delivered in any order,
// and again.
func (w *living) record(t *rapid.T) {
	l := w.pick(t, func(l *life) bool { return len(l.js.told) > 0 })
	batch := rapid.SliceOfN(rapid.IntRange(0, len(l.js.told)-1), 1, 3).Draw(t, "batch")
	outcomes := make([]db.Outcome, len(batch))
	for i, which := range batch {
		outcomes[i] = l.js.told[which]
	}
	w.write(t, l, outcomes)
}

func (w *living) recordAll(t *rapid.T, l *life) { w.write(t, l, slices.Clone(l.js.told)) }

func (w *living) write(t *rapid.T, l *life, outcomes []db.Outcome) {
	if len(outcomes) == 0 {
		return
	}
	moved, err := w.store.Record(t.Context(), outcomes, lease)
	require.NoError(t, err)
	for _, o := range outcomes {
		if l.recorded(o) {
			moved--
		}
	}
	require.Zero(t, moved, "outcomes that moved the message")
}

func (w *living) keepCopy(*rapid.T) {
	w.backup = map[message.ID]jetstream{}
	for id, l := range w.lives {
		w.backup[id] = l.js.clone()
	}
}

// powerLoss puts JetStream back to the backup, or to nothing.
func (w *living) powerLoss(t *rapid.T) {
	for id, l := range w.lives {
		l.powerLost(w.backup[id].clone())
	}
}

// compare holds every row against its life, and against what it was before.
func (w *living) compare(t *rapid.T, action string) {
	rows, err := w.pool.Query(t.Context(), "SELECT id, status, version, claim_number, attempts, budget_start, claims_without_outcome FROM messages") //nolint:rowserrcheck // ForEachRow looks
	require.NoError(t, err)
	var id message.ID
	var is row
	_, err = pgx.ForEachRow(rows, []any{&id, &is.status, &is.version, &is.claim, &is.attempts, &is.budget, &is.claimsWithoutOutcome}, func() error {
		l := w.lives[id]
		require.Equal(t, l.row, is, "after: %s", action)
		l.invariants(t, action)
		return nil
	})
	require.NoError(t, err)
}

// ends says that whatever has happened, a message comes to its end once
// everything works.
func (w *living) ends(t *rapid.T) {
	for _, id := range w.ids {
		l := w.lives[id]
		for range 10 {
			w.recordAll(t, l)
			switch {
			case l.row.status.Final():
			case l.row.status == message.Pending:
				w.claim(t, 10, nil)
			case l.js.parked != nil:
				l.fires()
			case l.js.copy != nil:
				l.js.copy.doubtful = true
				l.flying = nil
				if w.deliverTo(t, l); len(l.flying) > 0 {
					l.ended(l.flying[0], message.Succeed, false, true, 3)
				}
			default:
				w.reclaimOf(t, l)
			}
		}
		require.True(t, l.row.status.Final(), "message is %s for ever", l.row.status)
	}
	w.compare(t, "the end")
}
