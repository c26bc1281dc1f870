package sender

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// deciding is a sender that only decides, and a copy in its hands.
func deciding(t *testing.T, edits ...func(*item)) (*sender, *item) {
	t.Helper()
	s := &sender{clock: new(events.Skew), naks: newNakBudget(nil), backoff: message.Backoff{Base: time.Second, Factor: 10, Max: time.Hour, MaxRetries: 2}}
	s.naks.granted = nakGrant
	it := newHand(1).take(&events.Copy{ID: message.NewID(time.Now()), Claim: 7, Delivery: 1, First: true})
	it.row = testMessage()
	it.row.ClaimNumber, it.row.Version, it.row.Status = it.Claim, 4, message.Queued
	for _, edit := range edits {
		edit(it)
	}
	return s, it
}

func TestAnOutcomeIsTheRowAsItLeavesIt(t *testing.T) {
	t.Parallel()
	started := time.Now()
	failed := answer{verdict: retryable, text: "status 503", status: 503, started: started, took: time.Millisecond}

	s, it := deciding(t)
	out := s.attempted(it, 1, answer{verdict: succeeded, status: 200, externalID: "x", started: started})
	require.Equal(t, message.EventSent, out.kind)
	require.Equal(t, take, out.then)
	require.EqualValues(t, 5, out.message.Version)
	require.Equal(t, 1, out.message.Attempts)
	require.Equal(t, "x", out.message.ExternalID)
	require.Equal(t, micros(started), *out.message.SentAt)

	out = s.attempted(it, 1, failed)
	require.Equal(t, message.EventAttempted, out.kind)
	require.Equal(t, message.Retrying, out.message.Status)
	require.Equal(t, nak, out.then)
	require.Equal(t, it.Claim, out.told.NextClaim, "a nak keeps the claim")
	require.Equal(t, "status 503", out.message.LastError)

	out = s.attempted(it, 2, failed)
	require.WithinRange(t, *out.message.NextAttemptAt, started.Add(5*time.Second), started.Add(11*time.Second))

	failed.retryAfter = 30 * time.Second
	out = s.attempted(it, 1, failed)
	require.Equal(t, park, out.then)
	require.Equal(t, it.Claim+1, out.told.NextClaim, "a schedule has the next")
	require.Equal(t, it.Claim+1, out.message.ClaimNumber)
	require.Equal(t, it.Claim, out.told.Claim)

	out = s.attempted(it, 3, failed)
	require.Equal(t, message.EventFailed, out.kind, "the budget is used up")
	require.Equal(t, take, out.then)
	require.Equal(t, message.OutcomeFailure, out.told.Attempt.Outcome)

	s, it = deciding(t, func(it *item) { it.row.BudgetStart, it.row.Attempts = 3, 3 })
	require.Equal(t, message.EventAttempted, s.attempted(it, 4, failed).kind, "a user's retry has a new budget")

	soon := started.Add(20 * time.Second)
	s, it = deciding(t, func(it *item) { it.row.ExpiresAt = &soon })
	out = s.attempted(it, 1, failed)
	require.Equal(t, message.EventExpired, out.kind)
	require.Equal(t, message.OutcomeExpired, out.told.Attempt.Outcome)
	out = s.expired(it, soon)
	require.Nil(t, out.told.Attempt)
	require.Zero(t, out.message.Attempts)
}

func TestAShortWaitIsANakIfOneIsLeft(t *testing.T) {
	t.Parallel()
	s, it := deciding(t)
	s.naks.granted = 1
	require.Equal(t, park, s.howToWait(it, time.Minute))
	require.Equal(t, nak, s.howToWait(it, shortWait))
	require.Equal(t, park, s.howToWait(it, shortWait))
}

// A claim that was never recorded raises the row, so that older copies are
// fenced off from then on.
func TestAClaimThatTheRowDoesNotKnowIsTold(t *testing.T) {
	t.Parallel()
	s, it := deciding(t, func(it *item) { it.row.ClaimNumber = it.Claim - 2 })
	out := s.attempted(it, 1, answer{verdict: retryable, text: "status 500", started: time.Now()})
	require.Equal(t, it.row.ClaimNumber, out.told.Claim, "the recorder's guard")
	require.Equal(t, it.Claim, out.told.NextClaim)
}
