package recorder

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func builder() events.EventBuilder {
	return events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
}

func claimed(claim message.ClaimNumber) message.Message {
	return message.Message{
		ID: message.NewID(time.Now()), To: "+905551111111", Content: "hello", Destination: message.DefaultDestination,
		Status: message.Queued, ClaimNumber: claim, Version: 2 * int64(claim),
	}
}

func TestAnOutcomeIsParsedAsTheSenderPublishedIt(t *testing.T) {
	t.Parallel()
	ended := time.Now().UTC()
	next := ended.Add(time.Minute)
	m := claimed(3)
	m.Attempts, m.Version, m.UpdatedAt, m.LastError, m.NextAttemptAt, m.ExternalID = 2, 7, ended, "503", &next, "x7"
	attempt := &message.Attempt{Number: 2, StartedAt: ended.Add(-time.Second), Duration: time.Second, Outcome: message.OutcomeRetry, HTTPStatus: 503, Error: "status 503", Response: "<busy>"}
	entry := builder().Outcome(message.EventAttempted, m, events.Outcome{ClaimNumber: 3, NextClaimNumber: 4, Delivery: 5, Attempt: attempt})

	outcome, err := parseOutcome(entry.Data)

	require.NoError(t, err)
	assert.Equal(t, db.Outcome{
		ID: m.ID, Transition: message.Reschedule, Version: 7, ClaimNumber: 3, NextClaimNumber: 4, DeliveryCount: 5, Attempts: 2,
		Attempt: attempt, EndedAt: ended, NextAttemptAt: next, Error: "503", ExternalID: "x7",
	}, outcome)
}

func TestAnEventWithoutAnOutcomeIsRejected(t *testing.T) {
	t.Parallel()
	next := time.Now()
	m := claimed(1)
	m.NextAttemptAt = &next
	good := string(builder().Outcome(message.EventAttempted, m, events.Outcome{ClaimNumber: 1, NextClaimNumber: 1, Delivery: 1}).Data)
	_, err := parseOutcome([]byte(good))
	require.NoError(t, err)

	for name, broken := range map[string]string{
		"no JSON":         good[:len(good)-1],
		"another type":    strings.Replace(good, `message.attempted"`, `message.created"`, 1),
		"no type":         strings.Replace(good, `message.attempted"`, `"`, 1),
		"no sequence":     strings.Replace(good, `"sequence":"`, `"sequence":"x`, 1),
		"no outcome":      strings.Replace(good, `"outcome"`, `"other"`, 1),
		"no message":      strings.Replace(good, `"data":{"id"`, `"data":{"other"`, 1),
		"no next attempt": strings.Replace(good, `"nextAttemptAt"`, `"other"`, 1),
	} {
		require.NotEqual(t, good, broken, name)
		_, err := parseOutcome([]byte(broken))
		assert.Error(t, err, name)
	}
}
