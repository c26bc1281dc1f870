package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// inState stores a message and puts it into a state, whatever leads there.
func inState(t *testing.T, store *db.Store, pool *pgxpool.Pool, status message.Status) message.Message {
	t.Helper()
	m := insert(t, store)
	exec(t, pool, `UPDATE messages SET status = $2, claim_number = 1, attempts = 1,
		next_attempt_at = CASE WHEN $2 = 'RETRYING'::message_status THEN clock_timestamp() + interval '1 hour' END,
		lease_until = CASE WHEN $2 IN ('QUEUED', 'RETRYING') THEN clock_timestamp() - interval '1 second' END
		WHERE id = $1`, m.ID, status)
	return get(t, store, m.ID)
}

// attempt makes a move, by the statement that makes it, and reports whether
// it says that it moved the message.
func attempt(ctx context.Context, store *db.Store, pool *pgxpool.Pool, move message.Transition, m message.Message) (bool, error) {
	refused := func(err error) (bool, error) {
		if errors.Is(err, db.ErrWrongState) {
			return false, nil
		}
		return err == nil, err
	}
	switch move.Name {
	case message.Emit.Name:
		tick, err := store.Tick(ctx, tickParams(10))
		return tick.Size() == 1, err
	case message.Expire.Name:
		if _, err := pool.Exec(ctx, "UPDATE messages SET expires_at = clock_timestamp() - interval '1 second' WHERE id = $1", m.ID); err != nil {
			return false, err
		}
		moved, _, err := store.ExpireDue(ctx, 10, box)
		return len(moved) == 1, err
	case message.Cancel.Name:
		_, _, err := store.Cancel(ctx, m.ID, box)
		return refused(err)
	case message.Redrive.Name:
		_, err := store.Redrive(ctx, m.ID, nil)
		return refused(err)
	}
	moved, err := store.Record(ctx, []db.Outcome{outcome(m, move)}, lease)
	return moved == 1, err
}

// empty makes a database as good as a new one, which takes longer to get.
func empty(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	exec(t, pool, "DELETE FROM messages")
	exec(t, pool, "DELETE FROM outbox")
	exec(t, pool, "UPDATE schedule SET next_tick_at = clock_timestamp()")
}

func TestEveryMoveFromEveryState(t *testing.T) {
	t.Parallel()
	for _, move := range message.Transitions() {
		t.Run(move.Name, func(t *testing.T) {
			t.Parallel()
			store, pool := provisioned(t, time.Hour)
			for _, from := range message.Statuses() {
				empty(t, pool)
				before := inState(t, store, pool, from)

				moved, err := attempt(t.Context(), store, pool, move, before)

				require.NoError(t, err, from)
				require.Equal(t, move.Allows(from), moved, from)
				after := get(t, store, before.ID)
				if !moved {
					require.Equal(t, from, after.Status)
					require.Equal(t, before.Version, after.Version, from)
					require.Equal(t, before.Attempts, after.Attempts, from)
					continue
				}
				require.Equal(t, move.To, after.Status, from)
				require.Equal(t, before.Version+1, after.Version, "the version rises with every change")
				require.Equal(t, move.To == message.Retrying, after.NextAttemptAt != nil, from)
			}
		})
	}
}

func TestGivingUpIsAFail(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	for _, from := range message.Statuses() {
		empty(t, pool)
		before := inState(t, store, pool, from)
		lost := []db.ExpiredLease{{ID: before.ID, ClaimNumber: before.ClaimNumber}}

		moved, outboxID, err := store.GiveUp(t.Context(), lost, box)

		require.NoError(t, err)
		require.Equal(t, message.Fail.Allows(from), len(moved) == 1, from)
		require.Equal(t, len(moved) == 1, outboxID != 0, "a move and its announcement are one")
		if len(moved) == 1 {
			require.Equal(t, message.Failed, get(t, store, before.ID).Status)
			require.Equal(t, "no_outcome", get(t, store, before.ID).LastError)
		}
	}
}

func TestARefusedMoveTellsTheState(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	sent := inState(t, store, pool, message.Sent)

	_, _, err := store.Cancel(t.Context(), sent.ID, box)
	var refused *db.StateError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, message.Sent, refused.Status)

	_, err = store.Redrive(t.Context(), message.NewID(time.Now()), nil)
	require.ErrorIs(t, err, db.ErrNotFound)
}

func TestAParkedMessageIsCancelledOnlyAhead(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	parked := inState(t, store, pool, message.Retrying)
	exec(t, pool, "UPDATE messages SET next_attempt_at = clock_timestamp() + interval '4 seconds' WHERE id = $1", parked.ID)

	_, _, err := store.Cancel(t.Context(), parked.ID, box)
	require.ErrorIs(t, err, db.ErrWrongState)
}

func TestARetryHasABudgetOfItsOwn(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	failed := inState(t, store, pool, message.Failed)
	exec(t, pool, "UPDATE messages SET attempts = 4, claims_without_outcome = 7, expires_at = clock_timestamp() WHERE id = $1", failed.ID)

	m, err := store.Redrive(t.Context(), failed.ID, nil)

	require.NoError(t, err)
	require.Equal(t, 4, m.Attempts, "attempt numbers go on")
	require.Equal(t, 4, m.BudgetStart)
	require.Nil(t, m.ExpiresAt)
	require.Len(t, claim(t, store, 1).Fresh, 1, "it is due at once")
}
