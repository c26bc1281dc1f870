package events_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func sample(t *testing.T) message.Message {
	t.Helper()
	id, err := message.ParseID("0197b0de-7b1a-7abc-8def-0123456789ab")
	require.NoError(t, err)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return message.Message{
		ID: id, To: "+905551111111", Content: "secret", Destination: "default", Priority: 5,
		Metadata: map[string]string{"order": "7"}, Status: message.Retrying, Attempts: 1, LastError: "status 503",
		CreatedAt: at, UpdatedAt: at, DeliverAt: at, QueuedAt: &at, NextAttemptAt: &at, Version: 3, ClaimNumber: 2,
	}
}

func TestAnEventIsAsReviewed(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	m := sample(t)
	outcome := events.Outcome{ClaimNumber: 1, NextClaimNumber: 2, Delivery: 1, Attempt: &message.Attempt{
		Number: 1, StartedAt: m.CreatedAt, Duration: 1500 * time.Microsecond, Outcome: message.OutcomeRetry,
		HTTPStatus: 503, Error: "status 503", Response: "busy",
	}}
	type published struct {
		Subject string            `json:"s"`
		MsgID   string            `json:"i"`
		Headers map[string]string `json:"h,omitempty"`
		Data    json.RawMessage   `json:"d"`
	}
	var list []published
	for _, e := range []events.OutboxMessage{
		builder.Transitions(message.EventCreated, []message.Message{m})[0],
		builder.Outcome(message.EventAttempted, m, outcome),
		builder.Delivery(events.OriginTick, m),
	} {
		list = append(list, published{e.Subject, e.MsgID, e.Headers, e.Data})
	}
	compare(t, "testdata/events.json", list)
}

// TestAnEventIsWhatEncodingJSONWouldWrite fails for a field of the envelope
// or the outcome that only one of the two knows.
func TestAnEventIsWhatEncodingJSONWouldWrite(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), true)
	m := sample(t)
	for _, outcome := range []events.Outcome{
		{ClaimNumber: 1, NextClaimNumber: 2, Delivery: 3},
		{ClaimNumber: 1, NextClaimNumber: 2, Delivery: 3, Attempt: &message.Attempt{Number: 1, StartedAt: m.CreatedAt, Response: "<busy>"}},
	} {
		entry := builder.Outcome(message.EventAttempted, m, outcome)
		var event events.Event
		require.NoError(t, json.Unmarshal(entry.Data, &event))
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(event))
		require.JSONEq(t, want.String(), string(entry.Data))
	}
}

func TestContentIsToldOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	topology := events.NewTopology("dispatch", 1)
	for _, full := range []bool{false, true} {
		entry := events.NewEventBuilder(topology, full).Transitions(message.EventCreated, []message.Message{sample(t)})[0]
		var event events.Event
		require.NoError(t, json.Unmarshal(entry.Data, &event))
		require.Equal(t, full, event.Data.Content != "")
		require.Equal(t, full, event.Data.Metadata != nil)
	}
}

func TestAClaimIsPublishedBeforeItIsTold(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	entries := builder.Claims(events.OriginTick, []message.Message{sample(t), sample(t)})
	require.Len(t, entries, 5)
	require.Equal(t, "2", entries[0].Headers[events.HeaderClaim])
	require.Contains(t, entries[1].Subject, ".deliver.")
	require.Contains(t, entries[2].Subject, ".events.queued.")
	require.Equal(t, "dispatch.changed", entries[4].Subject)
}

func TestTheOutboxGivesBackWhatItWasGiven(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), true)
	many := make([]message.Message, 500)
	for i := range many {
		many[i] = sample(t)
		many[i].ID = message.NewID(time.Now())
	}
	entries := builder.Claims(events.OriginTick, many)
	packed := events.EncodeOutbox(entries)
	got, err := events.DecodeOutbox(packed)
	require.NoError(t, err)
	require.Equal(t, entries, got)
	require.Less(t, len(packed)/len(many), 150, "a batch's entries resemble each other")

	_, err = events.DecodeOutbox(packed[:len(packed)/2])
	require.Error(t, err)
	_, err = events.DecodeOutbox([]byte("nonsense"))
	require.Error(t, err)
}

func TestABrokenBatchIsRefused(t *testing.T) {
	t.Parallel()
	entries := events.NewEventBuilder(events.NewTopology("dispatch", 1), false).Claims(events.OriginTick, []message.Message{sample(t)})
	plain, err := s2.Decode(nil, events.EncodeOutbox(entries))
	require.NoError(t, err)
	whole := 0
	for length := range plain {
		got, err := events.DecodeOutbox(s2.Encode(nil, plain[:length]))
		if err == nil { // it was cut between two entries
			whole++
			require.Equal(t, entries[:len(got)], append([]events.OutboxMessage{}, got...))
		}
	}
	require.Equal(t, len(entries), whole)
	_, err = events.DecodeOutbox(s2.Encode(nil, append([]byte{99}, plain[1:]...)))
	require.Error(t, err, "a later format")
	_, err = events.DecodeOutbox(s2.Encode(nil, []byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}))
	require.Error(t, err, "more headers than there can be")
}

func TestSequencesOrderAsText(t *testing.T) {
	t.Parallel()
	require.Less(t, events.Sequence(9), events.Sequence(10))
	require.Less(t, events.Sequence(99_999), events.Sequence(100_000))
}
