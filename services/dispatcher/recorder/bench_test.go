package recorder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// BenchmarkOutcome parses the event of a sender's outcome.
func BenchmarkOutcome(b *testing.B) {
	m := claimed(7)
	sent := time.Now().UTC()
	m.Status, m.SentAt, m.UpdatedAt, m.ExternalID, m.Attempts = message.Sent, &sent, sent, "accepted", 1
	event := builder().Outcome(message.EventSent, m, events.Outcome{ClaimNumber: 7, NextClaimNumber: 7, Delivery: 1, Attempt: &message.Attempt{
		Number: 1, StartedAt: sent, Duration: 1234 * time.Microsecond, Outcome: message.OutcomeSuccess,
		HTTPStatus: 202, Response: `{"messageId":"accepted"}`,
	}})
	b.ReportAllocs()
	for b.Loop() {
		_, err := parseOutcome(event.Data)
		require.NoError(b, err)
	}
}
