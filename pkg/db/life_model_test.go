package db_test

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// life is what a message's row should be, and what is known of it elsewhere.
type life struct {
	id     message.ID
	row    row
	before row // as compared last
	js     jetstream
	flying []flight // requests that senders have under way
	sent   bool     // a 2xx is recorded
	anew   int64    // the version that a user's last retry made
	// relayedFrom is the number that a relay's took the place of; 0: none.
	relayedFrom message.ClaimNumber
	late        *copied             // a delivery that is still on its way to the queue
	looked      message.ClaimNumber // the claim that a relay did not find there; 0: none
	raised      message.ClaimNumber // the claim that a relay is to publish; 0: none
}

type row struct {
	status   message.Status
	version  int64
	claim    message.ClaimNumber
	attempts int
	budget   int
	// claimsWithoutOutcome counts the claims since the last outcome.
	claimsWithoutOutcome int
}

// jetstream is what the streams hold about a message: at most one copy of its
// id on the work queue, one parked, and what senders have told.
type jetstream struct {
	copy   *copied
	parked *copied
	told   []db.Outcome
}

type copied struct {
	claim    message.ClaimNumber
	doubtful bool // somebody may have had it before
}

type flight struct {
	row   message.Message
	claim message.ClaimNumber // the copy's
}

func (js jetstream) clone() jetstream {
	js.told = slices.Clone(js.told)
	for _, c := range []**copied{&js.copy, &js.parked} {
		if *c != nil {
			again := **c
			*c = &again
		}
	}
	return js
}

func (l *life) underway() bool {
	return l.row.status == message.Queued || l.row.status == message.Retrying
}

func (l *life) moves(t *rapid.T, move message.Transition) {
	require.True(t, move.Allows(l.row.status), "%s from %s", move.Name, l.row.status)
	l.row.status = move.To
	l.row.version++
}

func (l *life) emitted(t *rapid.T) {
	l.moves(t, message.Emit)
	l.row.claim += min(l.row.claim, 1) + 1
	l.relayedFrom = 0
	l.row.claimsWithoutOutcome++
	l.js.copy = &copied{claim: l.row.claim}
}

func (l *life) reclaimed(t *rapid.T) {
	require.True(t, l.underway())
	l.row.claim += 2
	l.relayedFrom = 0
	l.row.version++
	l.row.claimsWithoutOutcome++
	l.js.copy = &copied{claim: l.row.claim, doubtful: true}
}

// relayed is a relay that gives an id a new number.
func (l *life) relayed() {
	if l.relayedFrom == 0 {
		l.relayedFrom = l.row.claim
	}
	l.row.claim += 2
	l.raised = l.row.claim
}

// arrives is the delivery that was late. It does not take a relay's place.
func (l *life) arrives() {
	if l.js.copy == nil {
		l.js.copy = l.late
	}
	l.late = nil
}

func (l *life) retried(t *rapid.T) {
	l.moves(t, message.Redrive)
	l.row.budget, l.row.claimsWithoutOutcome = l.row.attempts, 0
	l.anew = l.row.version
}

// begins is the moment of a POST: nothing that is told may speak against it.
func (l *life) begins(t *rapid.T, m message.Message, claim message.ClaimNumber) {
	require.False(t, l.sent, "sent again after a recorded 2xx")
	require.False(t, l.row.status.Final(), "sent while %s", l.row.status)
	for _, o := range l.js.told {
		overtaken := o.ClaimNumber < m.ClaimNumber && o.Transition.Name != message.Succeed.Name
		if overtaken || o.Version <= l.anew {
			continue // a newer claim, or a user's retry, came after it
		}
		require.Equal(t, message.Reschedule.Name, o.Transition.Name, "sent after an end was told")
		require.Greater(t, m.Attempts+1, o.Attempts, "an attempt that was told is made again")
	}
	l.flying = append(l.flying, flight{m, claim})
}

// ended is the end of a request: told, then parked or not, then the copy taken
// off or given back. The sender dies after so many steps.
func (l *life) ended(f flight, move message.Transition, long, tried bool, steps int) {
	l.flying = slices.DeleteFunc(l.flying, func(o flight) bool { return o.claim == f.claim && o.row.Version == f.row.Version })
	o := db.Outcome{
		ID: l.id, Transition: move, Version: f.row.Version + 1, ClaimNumber: f.row.ClaimNumber, NextClaimNumber: f.claim, DeliveryCount: 1,
		Attempts: f.row.Attempts, EndedAt: time.Now(), NextAttemptAt: time.Now().Add(time.Hour),
	}
	if tried || move.Name != message.ExpireInFlight.Name {
		o.Attempts++
		o.Attempt = &message.Attempt{Number: o.Attempts, StartedAt: time.Now(), Outcome: message.OutcomeRetry}
	}
	parks := move.Name == message.Reschedule.Name && long
	if parks {
		o.NextClaimNumber++
	}
	l.js.told = append(l.js.told, o)
	if parks && steps > 1 {
		l.js.parked = &copied{claim: o.NextClaimNumber, doubtful: true}
	}
	taken := parks || move.Name != message.Reschedule.Name
	if taken && steps > 2 && l.js.copy != nil && l.js.copy.claim == f.claim {
		l.js.copy = nil
	}
}

func (l *life) fires() {
	l.js.copy, l.js.parked = l.js.parked, nil
}

// recorded is what an outcome does to the row; false if nothing.
func (l *life) recorded(o db.Outcome) bool {
	from := l.row.claim
	if l.relayedFrom != 0 {
		from = l.relayedFrom
	}
	news := from <= o.ClaimNumber && (l.row.attempts < o.Attempts || o.Attempt == nil && l.row.attempts == o.Attempts)
	status := l.row.status
	if status == message.Pending && l.row.claim < o.ClaimNumber {
		status = message.Queued // its claim was lost
	}
	if !o.Transition.Allows(status) || (o.Transition.Name != message.Succeed.Name && !news) {
		return false
	}
	l.row.status = o.Transition.To
	l.row.version++
	l.row.claim = max(l.row.claim, o.NextClaimNumber)
	l.row.attempts = max(l.row.attempts, o.Attempts)
	l.row.claimsWithoutOutcome, l.relayedFrom = 0, 0
	l.sent = l.sent || o.Transition.Name == message.Succeed.Name
	return true
}

// powerLost puts JetStream back. What it holds then was stored before any
// sender's present connection, so that every copy is doubtful.
func (l *life) powerLost(before jetstream) {
	l.js = before
	for _, c := range []*copied{l.js.copy, l.js.parked} {
		if c != nil {
			c.doubtful = true
		}
	}
}

// invariants are what holds whatever the model says.
func (l *life) invariants(t *rapid.T, action string) {
	was, is := l.before, l.row
	l.before = is
	if was == is {
		return
	}
	require.GreaterOrEqual(t, is.claim, was.claim)
	if action == "relay raises" {
		was.claim = is.claim
		require.Equal(t, was, is, "nobody is told of a claim number alone")
		return
	}
	require.Greater(t, is.version, was.version, "a change without a version")
	require.False(t, l.sent && is.status != message.Sent, "a recorded 2xx wins")
	require.NotEqual(t, message.Sent, was.status, "nothing changes what was sent")
	if was.status.Final() && is.status != was.status && is.status != message.Sent {
		require.Contains(t, []string{"retry", "retry all"}, action, "final stays final")
	}
	require.GreaterOrEqual(t, is.attempts, was.attempts)
}

func (w *living) reclaimOf(t *rapid.T, l *life) {
	w.exec(t, "UPDATE messages SET lease_until = clock_timestamp() - $2::interval WHERE id = $1 AND lease_until IS NOT NULL", l.id, time.Second)
	w.claim(t, 1, []db.ExpiredLease{{ID: l.id, ClaimNumber: l.row.claim}})
}
