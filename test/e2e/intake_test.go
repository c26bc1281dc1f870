package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// publishIntake puts a message into the intake, as another system does.
func (w *pipeline) publishIntake(subject, body string, headers ...string) *natsjs.PubAck {
	w.t.Helper()
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Add(headers[i], headers[i+1])
	}
	ack, err := w.js.PublishMsg(w.t.Context(), msg)
	require.NoError(w.t, err)
	return ack
}

// awaitIntakeEmpty waits until everything in the intake is dealt with.
func (w *pipeline) awaitIntakeEmpty() {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool {
		stream, err := w.js.Stream(w.t.Context(), w.topology.IntakeStream())
		return err == nil && stream.CachedInfo().State.Msgs == 0
	}, "the intake does not empty")
}

// rejectedMessages returns what lies in the REJECTED stream.
func (w *pipeline) rejectedMessages() []natsjs.Msg {
	w.t.Helper()
	return w.everythingIn(w.topology.RejectedStream())
}

// everythingIn returns everything that a stream holds.
func (w *pipeline) everythingIn(name string) []natsjs.Msg {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), name)
	require.NoError(w.t, err)
	consumer, err := w.js.OrderedConsumer(w.t.Context(), name, natsjs.OrderedConsumerConfig{})
	require.NoError(w.t, err)
	var msgs []natsjs.Msg
	for range stream.CachedInfo().State.Msgs {
		msg, err := consumer.Next(natsjs.FetchMaxWait(waitTimeout))
		require.NoError(w.t, err)
		msgs = append(msgs, msg)
	}
	return msgs
}

// storedMessages returns all messages, newest first.
func (w *pipeline) storedMessages() []message.Message {
	w.t.Helper()
	list, err := w.store.List(w.t.Context(), db.Filter{Limit: 100_000})
	require.NoError(w.t, err)
	return list
}

func TestWhatIsPublishedIsStoredAndHasAnEvent(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runIngest()
	w.publishIntake("dispatch.intake.default", `{"to":"+905551111111","content":"hello","idempotencyKey":"k"}`)
	w.awaitIntakeEmpty()
	list := w.storedMessages()
	require.Len(t, list, 1)
	require.Equal(t, "hello", list[0].Content)
	require.Equal(t, "k", list[0].IdempotencyKey)
	require.Equal(t, "nats:dispatch", list[0].Scope)
	told := w.events(list[0].ID, 1)
	require.Equal(t, []message.EventType{message.EventCreated}, kinds(told))
	require.Empty(t, w.rejectedMessages())
	testenv.Eventually(t, func() bool {
		rows, _, err := w.store.OutboxBacklog(t.Context())
		return err == nil && rows == 0
	}, "what is published leaves the outbox")
}

func TestWhatDoesNotValidateIsNotLost(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runIngest()
	huge := make([]byte, 1<<20-2000)
	for i := range huge {
		huge[i] = byte('a' + rand.IntN(26))
	}
	cases := []struct {
		subject, body, code, destination string
		headers                          []string
	}{
		{"default", "hello", "malformed", "default", nil},
		{"default", "", "malformed", "default", nil},
		{"default", `{"to":"nobody"}`, "invalid", "default", []string{"X-Own", "1", "Nats-Msg-Id", "a"}},
		{"default", `{"to":"+905551111111","content":"x","destination":"other"}`, "invalid", "default", nil},
		{"mars", hello, "invalid", "mars", nil},
		{"a.b", hello, "invalid", "unknown", nil},
		{"UPPER", hello, "invalid", "unknown", nil},
		{"default", `{"to":"+905551111111","content":"x","idempotencyKey":"b"}`, "invalid", "default", []string{"Nats-Msg-Id", "c"}},
		{"default", `{"to":"x","content":"x"}`, "invalid", "default", []string{"Nats-Expected-Stream", "DISPATCH_INTAKE", "Nats-TTL", "1h"}},
		{"default", string(huge), "malformed", "default", nil},
		{"default", strings.Repeat("x", 1<<20-200), "malformed", "default", []string{"X-Own", "2"}},
	}
	stream, err := w.js.Stream(t.Context(), w.topology.IntakeStream())
	require.NoError(t, err)
	config := stream.CachedInfo().Config
	config.AllowMsgTTL = true // somebody may have switched it on
	_, err = w.js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	for _, c := range cases {
		w.publishIntake("dispatch.intake."+c.subject, c.body, c.headers...)
	}
	w.awaitIntakeEmpty()
	require.Empty(t, w.storedMessages())

	kept := w.rejectedMessages()
	require.Len(t, kept, len(cases))
	for n, c := range cases {
		header := kept[n].Headers()
		require.Equal(t, "dispatch.rejected."+c.destination, kept[n].Subject())
		require.Equal(t, "dispatch.intake."+c.subject, header.Get(events.HeaderRejectedSubject))
		require.Equal(t, c.code, header.Get(events.HeaderProblemCode), c.body)
		require.Equal(t, c.body, string(unpacked(t, kept[n])))
		var p struct {
			Code   string
			Status int
		}
		require.NoError(t, json.Unmarshal([]byte(header.Get(events.HeaderProblem)), &p))
		require.Equal(t, c.code, p.Code)
		for i := 0; i < len(c.headers); i += 2 {
			switch name, value := c.headers[i], c.headers[i+1]; {
			case name == "Nats-Msg-Id":
				require.Equal(t, value, header.Get(events.HeaderRejectedMsgID))
			case !strings.HasPrefix(name, "Nats-"):
				require.Equal(t, value, header.Get(name))
			}
		}
	}

	var told int
	for _, msg := range w.everythingIn(w.topology.EventsStream()) {
		var event struct {
			events.Envelope
			Data struct {
				Destination, Code string
				StreamSequence    uint64
				Problem           json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal(msg.Data(), &event))
		require.Equal(t, "dispatch.message.rejected", event.Type)
		require.Equal(t, cases[event.Data.StreamSequence-1].destination, event.Data.Destination)
		require.Equal(t, "dispatch.events.rejected."+event.Data.Destination, msg.Subject())
		require.Equal(t, cases[event.Data.StreamSequence-1].code, event.Data.Code)
		told++
	}
	require.Equal(t, len(cases), told)
}

// unpacked returns a rejected message's data as it came.
func unpacked(t *testing.T, msg natsjs.Msg) []byte {
	t.Helper()
	if msg.Headers().Get("Content-Encoding") != "gzip" {
		return msg.Data()
	}
	reader, err := gzip.NewReader(bytes.NewReader(msg.Data()))
	require.NoError(t, err)
	data, err := io.ReadAll(reader)
	require.NoError(t, err)
	return data
}

func TestAKeyMeansTheSameAtEveryNATSDoor(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runIngest()
	for range 2 {
		w.publishIntake("dispatch.intake.default", hello, "Nats-Msg-Id", "shop-1")
		w.publishIntake("dispatch.intake.default", `{"to":"+905551111111","content":"hello","idempotencyKey":"shop-1"}`)
		w.passDuplicateWindow()
	}
	w.awaitIntakeEmpty()
	list := w.storedMessages()
	require.Len(t, list, 1)
	var m message.Message
	answer := w.askMessages("create", hello, "Nats-Msg-Id", "shop-1")
	require.NoError(t, json.Unmarshal(answer.Data, &m))
	require.Equal(t, list[0].ID, m.ID)
	require.Equal(t, "true", answer.Header.Get("Idempotent-Replayed"))
	require.Empty(t, w.rejectedMessages())

	w.publishIntake("dispatch.intake.default", `{"to":"+905551111111","content":"another","idempotencyKey":"shop-1"}`)
	w.awaitIntakeEmpty()
	require.Len(t, w.storedMessages(), 1)
	require.Len(t, w.rejectedMessages(), 1)
	require.Equal(t, "idempotency_key_reused", w.rejectedMessages()[0].Headers().Get(events.HeaderProblemCode))
	require.Equal(t, "409", w.askMessages("create", `{"to":"+905551111111","content":"another"}`, "Nats-Msg-Id", "shop-1").Header.Get(micro.ErrorCodeHeader))
}

// TestARedeliveryStoresNothing has entries delivered twice whose ack was lost.
func TestARedeliveryStoresNothing(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest()
	w.publishIntake("dispatch.intake.default", hello)
	w.awaitIntakeEmpty()
	first := w.storedMessages()[0]

	api.stop()
	stream, err := w.js.Stream(t.Context(), w.topology.IntakeStream())
	require.NoError(t, err)
	w.publishIntake("dispatch.intake.default", hello)
	entry, err := stream.GetLastMsgForSubject(t.Context(), "dispatch.intake.default")
	require.NoError(t, err)
	w.insert(draft(func(m *message.Message) { // as the ingest that could not ack it did
		m.ID = message.DerivedID(entry.Time, entry.Sequence, entry.Subject)
	}))
	w.runIngest()
	w.awaitIntakeEmpty()
	list := w.storedMessages()
	require.Len(t, list, 2)
	require.Equal(t, first.ID, list[1].ID)
}

// TestIntakeWaitsForPostgres publishes while Postgres is away: nothing is
// lost, rejected or stored twice.
func TestIntakeWaitsForPostgres(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	postgres := w.viaProxy("DATABASE_URL")
	api := w.runIngest("DATABASE_URL", postgres.URL)
	w.publishIntake("dispatch.intake.default", hello)
	w.awaitIntakeEmpty()

	postgres.Cut()
	for n := range 50 {
		w.publishIntake("dispatch.intake.default", hello, "Nats-Msg-Id", fmt.Sprint("away-", n))
	}
	status, header, _ := api.request(t, http.MethodPost, "/api/v1/messages", hello)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotEmpty(t, header.Get("Retry-After"))
	w.refusedOverNATS(w.askMessages("create", hello), http.StatusServiceUnavailable, "unavailable")

	postgres.Heal()
	w.awaitIntakeEmpty()
	require.Len(t, w.storedMessages(), 51)
	require.Empty(t, w.rejectedMessages())
}

// TestIngestsShareTheIntakeAndAnEndLosesNothing stops one of two while both
// are busy.
func TestIngestsShareTheIntakeAndAnEndLosesNothing(t *testing.T) {
	t.Parallel()
	const total = 3000
	w := newPipeline(t)
	first := w.runIngest()
	w.runIngest()
	published := make([]events.OutboxMessage, total)
	for n := range published {
		published[n] = events.OutboxMessage{
			Subject: "dispatch.intake.default", MsgID: fmt.Sprint("m-", n),
			Data: fmt.Appendf(nil, `{"to":"+905551111111","content":"message %d"}`, n),
		}
	}
	publisher := jetstream.NewPublisher(w.js)
	require.NoError(t, publisher.Publish(t.Context(), published[:total/2]))
	ended := make(chan struct{})
	go func() { defer close(ended); first.stop() }()
	require.NoError(t, publisher.Publish(t.Context(), published[total/2:]))
	<-ended
	w.awaitIntakeEmpty()
	seen := map[string]bool{}
	for _, m := range w.storedMessages() {
		require.False(t, seen[m.Content], m.Content)
		seen[m.Content] = true
	}
	require.Len(t, seen, total)
	require.Empty(t, w.rejectedMessages())
}
