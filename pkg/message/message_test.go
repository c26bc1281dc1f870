package message

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAnAttemptSurvivesJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		attempt := Attempt{
			Number:     rapid.IntRange(1, 1e6).Draw(t, "number"),
			StartedAt:  anyTime.Draw(t, "startedAt").UTC(),
			Duration:   time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "µs")) * time.Microsecond,
			Outcome:    rapid.SampledFrom([]string{OutcomeSuccess, OutcomeRetry, OutcomeFailure, OutcomeExpired}).Draw(t, "outcome"),
			HTTPStatus: rapid.IntRange(0, 599).Draw(t, "status"),
			Error:      rapid.String().Draw(t, "error"),
			Response:   rapid.String().Draw(t, "response"),
		}
		encoded, err := json.Marshal(attempt)
		require.NoError(t, err)
		var decoded Attempt
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		require.Equal(t, attempt, decoded)
	})
}

func TestTheJSONOfAnAttempt(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(Attempt{Number: 2, StartedAt: noon, Duration: 1500 * time.Microsecond, Outcome: OutcomeRetry, HTTPStatus: 503})
	require.NoError(t, err)
	assert.JSONEq(t, `{"number":2,"startedAt":"2030-01-31T12:00:00Z","durationMs":1.5,"outcome":"retry","httpStatus":503}`, string(encoded))
	assert.Error(t, json.Unmarshal([]byte(`{"durationMs":"1"}`), &Attempt{}))
}

func TestWithoutContentLeavesTheOriginalAlone(t *testing.T) {
	t.Parallel()
	m := Message{To: "+14155550100", Content: "x", Payload: json.RawMessage("1"), Metadata: map[string]string{"a": "b"}}
	assert.Equal(t, Message{To: "+14155550100"}, m.WithoutContent())
	assert.Equal(t, "x", m.Content)
	assert.NotNil(t, m.Metadata)
}

// What is for us alone stays out of every answer and event.
func TestTheJSONOfAMessage(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(Message{
		ID: DerivedID(noon, 7, "dispatch.intake.default"), To: "+14155550100", Payload: json.RawMessage(`{"a":1}`),
		Destination: "default", Priority: 5, DeliverAt: noon, Status: Pending, CreatedAt: noon, UpdatedAt: noon,
		Version: 3, ClaimNumber: 2, BudgetStart: 1, IdempotencyKey: "k", Scope: "s", BodyHash: []byte("h"),
	})
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"01b977d7-aa00-7000-a25f-a2bebf3f224d","to":"+14155550100","payload":{"a":1},"destination":"default","priority":5,
		"deliverAt":"2030-01-31T12:00:00Z","status":"PENDING","attempts":0,
		"createdAt":"2030-01-31T12:00:00Z","updatedAt":"2030-01-31T12:00:00Z"}`, string(encoded))
}

func TestDestinationPattern(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", "a", "7-x_y"} {
		assert.Regexp(t, DestinationPattern, name)
	}
	for _, name := range []string{"", "-a", "A", "a.b", "a b", "a\n", "a>", "0123456789012345678901234567890123456789012345678901234567890123"} {
		assert.NotRegexp(t, DestinationPattern, name)
	}
}
