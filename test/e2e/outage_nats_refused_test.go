package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func TestAnOutboxMessageThatNATSRefusesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	id := events.NewEventBuilder(w.topology, false).Delivery(events.OriginTick, draft())
	event := func(id, body string) events.OutboxMessage {
		return events.OutboxMessage{Subject: w.topology.EventSubject(message.EventCreated, "x"), MsgID: id, Data: []byte(body)}
	}
	large := event("large", `"`+strings.Repeat("x", 2<<20)+`"`)
	nowhere := events.OutboxMessage{Subject: "no such subject", MsgID: "nowhere", Data: []byte("{}")}
	all := []events.OutboxMessage{large, nowhere, id, event("small", "{}")}

	missing, err := jetstream.NewPublisher(w.js).PublishSome(t.Context(), all)

	require.ErrorIs(t, err, jetstream.ErrRefused, "and at once: repeating it is of no use")
	require.Equal(t, all[:2], missing)
	require.EqualValues(t, 1, w.deliveries().State.Msgs)
}

func TestIdsDoNotWaitForAStreamThatIsAway(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	require.NoError(t, w.js.DeleteStream(t.Context(), w.topology.EventsStream()))
	all := events.NewEventBuilder(w.topology, false).Claims(events.OriginTick, w.claimed(draft()))

	missing, err := jetstream.NewPublisher(w.js).PublishIDs(t.Context(), all)

	require.ErrorIs(t, err, jetstream.ErrUnavailable)
	require.NotEmpty(t, missing)
	require.Equal(t, w.topology.EventSubject(message.EventQueued, message.DefaultDestination), missing[0].Subject)
	for _, entry := range missing { // a note that was not yet acknowledged is not waited for either
		require.False(t, entry.IsDelivery())
	}
	require.EqualValues(t, 1, w.deliveries().State.Msgs)
}

func TestAnEventThatIsTooLargeGoesWithoutItsContent(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore() // a created message is not RETRYING
	w.limitEvents(2000)
	m := w.claimed(draft())[0]
	m.Status, m.Metadata, m.LastError = message.Retrying, map[string]string{"order": "7"}, "status 503: "+strings.Repeat("é", 2000)
	m.NextAttemptAt = &m.UpdatedAt
	builder := events.NewEventBuilder(w.topology, true)
	content := m
	content.LastError, content.Content = "", strings.Repeat("x", 3000)
	attempt := &message.Attempt{Number: 1, StartedAt: m.UpdatedAt, Outcome: message.OutcomeRetry, HTTPStatus: 503, Error: m.LastError, Response: strings.Repeat("<", 1000)}
	w.publish(
		builder.Transitions(message.EventCreated, []message.Message{content})[0],
		builder.Outcome(message.EventAttempted, m, events.Outcome{ClaimNumber: 1, NextClaimNumber: 1, Delivery: 1, Attempt: attempt}),
	)

	read := w.events(m.ID, 2)
	for _, event := range read {
		require.True(t, event.Data.ContentOmitted)
		require.Empty(t, event.Data.Content)
		require.Empty(t, event.Data.Metadata)
		require.Equal(t, m.To, event.Data.To)
	}
	told := read[1].Data
	require.Equal(t, "status 503: "+strings.Repeat("é", 94), told.LastError)
	require.Equal(t, told.LastError, told.Outcome.Attempt.Error)
	require.Empty(t, told.Outcome.Attempt.Response)
	require.Equal(t, 503, told.Outcome.Attempt.HTTPStatus, "what is recorded is there")
}

func (w *pipeline) limitEvents(size int32) { w.limit(w.topology.EventsStream(), size) }

// limit has a stream refuse what is larger; -1 ends that.
func (w *pipeline) limit(name string, size int32) {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), name)
	require.NoError(w.t, err)
	config := stream.CachedInfo().Config
	config.MaxMsgSize = size
	_, err = w.js.UpdateStream(w.t.Context(), config)
	require.NoError(w.t, err)
}

func TestIdsAreEmittedWhileEventsAreRefused(t *testing.T) {
	t.Parallel()
	const count = 3
	w := newPipeline(t, "PROCESSING_INTERVAL", "200ms", "BATCH_SIZE", "1")
	w.limitEvents(10)
	ids := w.insert(drafts(count)...)
	w.abandon()
	w.runDispatcher()

	w.awaitDeliveries(count)

	testenv.Eventually(t, func() bool { return w.one("SELECT count(*) FROM outbox WHERE is_claim") == 0 })
	require.Positive(t, w.one("SELECT count(*) FROM outbox"), "nothing is lost")
	w.limitEvents(-1)
	w.abandon()
	for _, id := range ids {
		require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventQueued}, kinds(w.events(id, 2)))
	}
	testenv.Eventually(t, func() bool { return w.one("SELECT count(*) FROM outbox") == 0 })
}

func TestALargeMessageIsSentThoughNATSTakesLittle(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t, "EVENT_CONTENT", "full", "PROCESSING_INTERVAL", "200ms", "BATCH_SIZE", "1")
	w.wire.ignore()
	w.stopNATS()
	server := testenv.StartNATS(t, 1, func(n testenv.NATSNode) string { return n.Config() + "\nmax_payload: 128KB\n" })[0]
	w.env["NATS_URL"] = server.URL
	w.js = w.connect()
	w.provision()
	api := w.runAll()
	payload, err := json.Marshal(strings.Repeat("x", 200<<10))
	require.NoError(t, err)

	large := api.post(t, `{"to":"+905551111111","payload":`+string(payload)+`}`)
	after := api.post(t, hello)

	w.awaitStatus(large, message.Sent)
	w.awaitStatus(after, message.Sent)
	for _, event := range w.events(large, 3) {
		require.True(t, event.Data.ContentOmitted)
	}
	require.Equal(t, string(payload), string(api.get(t, large).Payload))
}

// What REJECTED does not take stays in the intake and holds up nothing else.
func TestARejectionThatNATSRefusesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.limit(w.topology.RejectedStream(), 1000)
	w.limitEvents(10)
	intake := w.topology.IntakeSubject(message.DefaultDestination)
	w.publishIntake(intake, strings.Repeat("x", 2000))
	w.publishIntake(intake, "no JSON")
	w.publishIntake(intake, hello)
	w.runIngest()

	testenv.Eventually(t, func() bool { return w.one("SELECT count(*) FROM messages") == 1 })
	testenv.Eventually(t, func() bool { return len(w.rejectedMessages()) == 1 })
	stream, err := w.js.Stream(t.Context(), w.topology.IntakeStream())
	require.NoError(t, err)
	awaitCount(t, 1, func() int {
		info, err := stream.Info(t.Context())
		require.NoError(t, err)
		return int(info.State.Msgs)
	})
	require.Equal(t, 2, w.one("SELECT count(*) FROM outbox"), "what was stored, and the event of what was rejected")
}

func TestOutcomesDoNotWaitForANoteThatNATSRefuses(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.limit(w.topology.ChangesStream(), 10)
	w.runDispatcher()
	w.runSender()
	for range 2 { // an outcome that is held up holds up the next
		w.awaitStatus(w.insert(draft())[0], message.Sent)
	}

	w.limit(w.topology.ChangesStream(), -1)
	testenv.Eventually(t, func() bool {
		w.abandon()
		return w.one("SELECT count(*) FROM outbox") == 0
	}, "the notes are kept, and published later")
}

func TestAResponseThatNATSRefusesBecomesAnError(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "MAX_PAYLOAD_BYTES", "2000000")
	api := w.runIngest()
	payload, err := json.Marshal(strings.Repeat("x", 1<<20))
	require.NoError(t, err)
	id := api.post(t, `{"to":"+905551111111","payload":`+string(payload)+`}`)

	w.refusedOverNATS(w.askMessages("get", `{"id":"`+id.String()+`"}`), http.StatusRequestEntityTooLarge, "too_large")

	small := api.post(t, hello)
	require.Empty(t, w.askMessages("get", `{"id":"`+small.String()+`"}`).Header.Get(micro.ErrorCodeHeader))
}

func TestASmallMaxPayloadIsReported(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t, "EVENT_CONTENT", "full")
	w.wire.ignore()
	w.stopNATS()
	server := testenv.StartNATS(t, 1, func(n testenv.NATSNode) string { return n.Config() + "\nmax_payload: 128KB\n" })[0]
	w.env["NATS_URL"] = server.URL
	w.js = w.connect()
	w.provision()
	api := w.runIngest()
	_, _, ready := api.request(t, http.MethodGet, "/health/ready", "")
	require.Contains(t, string(ready), "max_payload of NATS is 131072 bytes and MAX_PAYLOAD_BYTES=262144 needs 327680")
	require.Contains(t, string(ready), "EVENT_CONTENT")

	small := testenv.StartNATS(t, 1, func(n testenv.NATSNode) string { return n.Config() + "\nmax_payload: 32KB\n" })[0]
	w.env["NATS_URL"] = small.URL
	cfg, err := settings.Parse[provision.Config](w.env)
	require.NoError(t, err)
	require.ErrorIs(t, provision.Run(t.Context(), cfg, w.log()), jetstream.ErrMaxPayload)
	w.js = w.connect()
	require.ErrorIs(t, streams.Check(t.Context(), w.js), jetstream.ErrMaxPayload)
}
