package db_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func parked(o *db.Outcome) { o.NextClaimNumber = o.ClaimNumber + 1 }

func TestAnOutcomeThatComesTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	for _, move := range []message.Transition{message.Succeed, message.Reschedule, message.Fail, message.ExpireInFlight} {
		t.Run(move.Name, func(t *testing.T) {
			t.Parallel()
			store, _ := provisioned(t, 0)
			once := outcome(queued(t, store), move)

			require.Equal(t, 1, record(t, store, once))
			first := get(t, store, once.ID)
			require.Equal(t, 0, record(t, store, once))
			require.Equal(t, 0, record(t, store, once, once))

			require.Equal(t, first, get(t, store, once.ID))
			attempts, err := store.Attempts(t.Context(), once.ID)
			require.NoError(t, err)
			require.Len(t, attempts, 1)
		})
	}
}

func TestTwoOutcomesOfAMessageInABatchCountInTheirOrder(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	m := queued(t, store)
	other := queued(t, store)
	failure := outcome(m, message.Reschedule)
	m.Attempts, m.Version = 1, m.Version+1
	success := outcome(m, message.Succeed)

	require.Equal(t, 3, record(t, store, failure, outcome(other, message.Fail), success))

	m = get(t, store, m.ID)
	require.Equal(t, message.Sent, m.Status)
	require.Equal(t, 2, m.Attempts)
	require.Nil(t, m.NextAttemptAt)
	require.EqualValues(t, 4, m.Version)
	require.Equal(t, message.Failed, get(t, store, other.ID).Status)
}

func TestALateOutcomeChangesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		late message.Transition
		// then happens between the attempt and its outcome's arrival.
		then func(t *testing.T, store *db.Store, m message.Message)
		want message.Status
	}{
		"a failure after the next attempt's": {message.Reschedule, func(t *testing.T, store *db.Store, m message.Message) {
			m.Attempts++
			record(t, store, outcome(m, message.Reschedule))
		}, message.Retrying},
		"a failure after the next attempt's success": {message.Reschedule, func(t *testing.T, store *db.Store, m message.Message) {
			m.Attempts++
			record(t, store, outcome(m, message.Succeed))
		}, message.Sent},
		"a final failure after another delivery was parked": {message.Fail, func(t *testing.T, store *db.Store, m message.Message) {
			record(t, store, outcome(m, message.Reschedule, parked, func(o *db.Outcome) { o.DeliveryCount = 2 }))
		}, message.Retrying},
		"a failure after the message was claimed anew": {message.Reschedule, func(t *testing.T, store *db.Store, m message.Message) {
			record(t, store, outcome(m, message.Fail, func(o *db.Outcome) { o.DeliveryCount = 2 }))
			_, err := store.Redrive(t.Context(), m.ID, nil)
			require.NoError(t, err)
			require.Len(t, claim(t, store, 1).Fresh, 1)
		}, message.Queued},
		"a final failure after a user's retry": {message.Fail, func(t *testing.T, store *db.Store, m message.Message) {
			record(t, store, outcome(m, message.Fail, func(o *db.Outcome) { o.DeliveryCount = 2 }))
			_, err := store.Redrive(t.Context(), m.ID, nil)
			require.NoError(t, err)
		}, message.Pending},
		"an expiry after a user cancelled": {message.ExpireInFlight, func(t *testing.T, store *db.Store, m message.Message) {
			record(t, store, outcome(m, message.Reschedule, parked))
			_, _, err := store.Cancel(t.Context(), m.ID, box)
			require.NoError(t, err)
		}, message.Cancelled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, _ := provisioned(t, 0)
			m := queued(t, store)
			late := outcome(m, tt.late)
			tt.then(t, store, m)
			before := get(t, store, m.ID)

			require.Equal(t, 0, record(t, store, late))

			require.Equal(t, before, get(t, store, m.ID))
			require.Equal(t, tt.want, before.Status)
		})
	}
}

func TestA2xxWinsWhateverHappenedMeanwhile(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	m := queued(t, store)
	late := outcome(m, message.Succeed)
	record(t, store, outcome(m, message.Fail, func(o *db.Outcome) { o.DeliveryCount = 2 }))
	_, err := store.Redrive(t.Context(), m.ID, nil)
	require.NoError(t, err)
	require.Len(t, claim(t, store, 1).Fresh, 1)

	require.Equal(t, 1, record(t, store, late))

	after := get(t, store, m.ID)
	require.Equal(t, message.Sent, after.Status)
	require.NotNil(t, after.SentAt)
	require.Greater(t, after.Version, late.Version, "the version rises although the event's is lower")
}

func TestAnOutcomeWithoutAnAttemptLeavesTheBudgetAlone(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	m := queued(t, store)
	untried := outcome(m, message.Reschedule, func(o *db.Outcome) { o.Attempt, o.Attempts = nil, m.Attempts })

	require.Equal(t, 1, record(t, store, untried))
	require.Equal(t, 0, get(t, store, m.ID).Attempts)
	attempts, err := store.Attempts(t.Context(), m.ID)
	require.NoError(t, err)
	require.Empty(t, attempts)

	record(t, store, outcome(m, message.Reschedule))
	before := get(t, store, m.ID)
	require.Equal(t, 0, record(t, store, untried), "an attempt has overtaken it")
	require.Equal(t, before, get(t, store, m.ID))
}

func TestAParkingWhoseEventWasLostIsMadeUpFor(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	m := queued(t, store)
	m.ClaimNumber, m.Attempts = m.ClaimNumber+1, 1 // what the parked copy carries

	require.Equal(t, 1, record(t, store, outcome(m, message.Reschedule, parked)))

	after := get(t, store, m.ID)
	require.Equal(t, m.ClaimNumber+1, after.ClaimNumber)
	require.Equal(t, 2, after.Attempts)
}

func TestAnAnswerThatPostgresCantHoldCostsNoOutcome(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	m := queued(t, store)

	record(t, store, outcome(m, message.Succeed, func(o *db.Outcome) {
		o.ExternalID, o.Attempt.Response, o.Attempt.Error = "a\x00b", "\x00\xff", "\x00"
	}))

	require.Equal(t, message.Sent, get(t, store, m.ID).Status)
	require.Equal(t, "a\uFFFDb", get(t, store, m.ID).ExternalID)
}

func TestAnOutcomeEndsTheLeaseOrMovesIt(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	sent, retrying := queued(t, store), queued(t, store)
	exec(t, pool, "UPDATE messages SET claims_without_outcome = 9")
	next := time.Now().Add(time.Hour).Truncate(time.Millisecond)

	record(t, store, outcome(sent, message.Succeed), outcome(retrying, message.Reschedule, func(o *db.Outcome) { o.NextAttemptAt = next }))

	var leaseOfSent, leaseOfRetrying *time.Time
	var claimsWithoutOutcome int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT lease_until FROM messages WHERE id = $1", sent.ID).Scan(&leaseOfSent))
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT lease_until, claims_without_outcome FROM messages WHERE id = $1", retrying.ID).Scan(&leaseOfRetrying, &claimsWithoutOutcome))
	require.Nil(t, leaseOfSent)
	require.WithinDuration(t, next.Add(lease), *leaseOfRetrying, time.Millisecond)
	require.Zero(t, claimsWithoutOutcome)
}

func TestRecordersSideBySideEndAlike(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	var outcomes []db.Outcome
	for range 50 {
		m := queued(t, store)
		outcomes = append(outcomes, outcome(m, message.Reschedule))
		m.Attempts++
		outcomes = append(outcomes, outcome(m, message.Succeed))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for { // a deadlock is a reason to repeat, as the recorder does
				_, err := store.Record(t.Context(), outcomes, lease)
				if err == nil {
					return
				}
				if !dbpool.Unavailable(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, o := range outcomes {
		m := get(t, store, o.ID)
		require.Equal(t, message.Sent, m.Status)
		require.Equal(t, 2, m.Attempts)
	}
}
