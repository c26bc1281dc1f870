package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// exampleID is the message that the description's examples are about.
const exampleID = "019a0c6e-7c1b-7d31-8a5e-3f0c5b1d2e4f"

// TestTheSystemDoesWhatItsDescriptionSays makes everything happen that can be
// seen over NATS, with and without content in the events. What is seen must be
// described, and what is described must be seen: every message of every channel,
// every kind of answer and every field.
func TestTheSystemDoesWhatItsDescriptionSays(t *testing.T) {
	t.Parallel()
	spec, err := readAsyncAPI()
	require.NoError(t, err)
	t.Run("scenarios", func(t *testing.T) { // returns when both are over
		t.Run("none", func(t *testing.T) {
			t.Parallel()
			newContract(t, spec, "none").everything()
		})
		t.Run("full", func(t *testing.T) {
			t.Parallel()
			newContract(t, spec, "full").everything()
		})
	})
	require.Empty(t, spec.unseen(), "these were never seen")
}

// contract is a world in which everything happens once.
type contract struct {
	*pipeline
	api  *runningService
	send *runningService
	wire *wireCheck
	full bool
}

func newContract(t *testing.T, spec *asyncAPI, content string) *contract {
	t.Helper()
	w := newPipeline(t, "EVENT_CONTENT", content, "RETRY_BASE", "1h", "RETRY_MAX", "1h", "LOG_LEVEL", "error")
	c := &contract{pipeline: w, wire: checkWire(t, w.connect(), spec, ">"), full: content == "full"}
	w.webhook.respondWith(func(n int, sent call, rw http.ResponseWriter, _ *http.Request) {
		switch body := string(sent.Body); {
		case strings.Contains(body, "later"):
			rw.WriteHeader(http.StatusServiceUnavailable)
			_, _ = rw.Write([]byte("busy"))
		case strings.Contains(body, "refuse") && n == 1:
			rw.WriteHeader(http.StatusGone)
		default:
			_, _ = rw.Write([]byte(`{"messageId":"x-1"}`))
		}
	})
	w.runDispatcher()
	c.send = w.runSender()
	c.api = w.runIngest()
	w.awaitControl()
	return c
}

func (c *contract) everything() {
	c.sent()
	c.deferred()
	c.expired()
	c.rejected()
	c.requests()
	c.pace()
	c.examples()
	c.fired()
	c.endpoints()
	c.unsent()
	c.streams()
}

func (c *contract) text(content, more string) string {
	return fmt.Sprintf(`{"to":"+905551111111","content":%q%s}`, content, more)
}

// sent has messages taken at the first attempt, and one that was refused
// before and brought back.
func (c *contract) sent() {
	id := c.api.post(c.t, `{"to":"+905551111111","payload":{"n":1},"type":"invoice.paid","priority":9,"expiresAt":"2096-01-01T00:00:00Z",
		"metadata":{"tenant":"acme"},"idempotencyKey":"c-1"}`, "traceparent", trace, "tracestate", "a=1")
	c.awaitStatus(id, message.Sent)
	id = c.api.post(c.t, c.text("refuse", ""))
	c.awaitStatus(id, message.Failed)
	c.accepted("retry", `{"id":"`+id.String()+`","expiresAt":"2096-01-01T00:00:00Z"}`)
	c.awaitStatus(id, message.Sent)
	if c.full {
		large := draft()
		large.Status, large.CreatedAt, large.UpdatedAt, large.DeliverAt = message.Pending, time.Now(), time.Now(), time.Now()
		large.Content, large.Payload = "", json.RawMessage(`"`+strings.Repeat("x", 1<<20)+`"`)
		c.publish(events.NewEventBuilder(c.topology, true).Transitions(message.EventCreated, []message.Message{large})...)
	}
}

// deferred has a message parked for its next attempt, and called back.
func (c *contract) deferred() {
	id := c.api.post(c.t, c.text("later", ""), "traceparent", trace, "tracestate", "a=1")
	c.awaitStatus(id, message.Retrying)
	parked := c.awaitOn(c.topology.RetrySubject(message.DefaultDestination, id))
	require.Equal(c.t, trace, parked.Header.Get("traceparent"))
	c.accepted("cancel", `{"id":"`+id.String()+`"}`)
	c.refusedOverNATS(c.askMessages("cancel", `{"id":"`+id.String()+`"}`), http.StatusConflict, "wrong_state")
}

// expired has messages end before they are emitted, and after an attempt.
func (c *contract) expired() {
	_, err := c.control("stop", "")
	require.NoError(c.t, err)
	soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
	unsent := c.api.post(c.t, c.text("unsent", `,"expiresAt":"`+soon+`"`))
	c.awaitStatus(unsent, message.Expired)
	_, err = c.control("start", "")
	require.NoError(c.t, err)
	tried := c.api.post(c.t, c.text("later", `,"expiresAt":"`+time.Now().Add(time.Minute).UTC().Format(time.RFC3339)+`"`))
	c.awaitStatus(tried, message.Expired)
}

// rejected publishes what can't be taken: it is kept with its problem.
func (c *contract) rejected() {
	const size = 1<<20 - 500 // of a message that NATS takes, but not together with a problem
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	intake := c.topology.IntakeSubject(message.DefaultDestination)
	bad := []string{"no JSON", `{"to":"nobody"}`, strings.Repeat("x", size), string(noise)}
	for _, body := range bad {
		c.publishIntake(intake, body, "Traceparent", trace, "tracestate", "a=1", "Nats-Msg-Id", message.NewID(time.Now()).String())
	}
	c.publishIntake(intake, "no JSON", "X-Long", strings.Repeat("x", 65_300)) // JetStream takes no more of headers
	c.publishIntake("dispatch.intake.Not.A.Name", hello)
	c.awaitIntakeEmpty()
	require.Len(c.t, c.rejectedMessages(), len(bad)+2)
}

// requests asks the messages service, well and badly.
func (c *contract) requests() {
	later := `,"deliverAt":"2096-01-01T00:00:00Z"`
	created := c.accepted("create", c.text("cancel me", later), "Nats-Msg-Id", "c-2")
	require.Equal(c.t, created, c.accepted("create", c.text("cancel me", later), "Nats-Msg-Id", "c-2"), "it is repeated")
	var m message.Message
	require.NoError(c.t, json.Unmarshal([]byte(created), &m))
	target := `{"id":"` + m.ID.String() + `"}`
	require.Equal(c.t, created, c.accepted("get", target))
	c.accepted("cancel", target)
	c.accepted("list", "")
	c.accepted("create", `{"phoneNumber":"+905551111111","content":"ok"}`)
	var page struct{ NextCursor string }
	require.NoError(c.t, json.Unmarshal([]byte(c.accepted("list", `{"limit":1}`)), &page))
	c.accepted("list", `{"status":"cancelled","destination":"default","to":"+90 555 111 11 11","type":"invoice.paid","externalId":"x-1",
		"idempotencyKey":"c-1","createdAfter":"2026-01-01T00:00:00Z","createdBefore":"2096-01-01T00:00:00Z","cursor":"`+page.NextCursor+`"}`)
	for verb, bodies := range map[string][]string{
		"create": {"no JSON", "{}", `{"to":"1","content":"","priority":10,"colour":"red"}`, c.text("another", `,"idempotencyKey":"c-2"`)},
		"get":    {"", "{}", `{"id":7}`, `{"id":"7"}`, `{"id":"` + message.NewID(time.Now()).String() + `"}`, target[:len(target)-1] + `,"x":1}`},
		"list":   {"[]", `{"limit":0}`, `{"x":"y"}`, `{"status":[]}`},
		"cancel": {"", "{}", target},
		"retry":  {"", "{}", target[:len(target)-1] + `,"x":1}`, target[:len(target)-1] + `,"expiresAt":"2000-01-01T00:00:00Z"}`},
	} {
		for _, body := range bodies {
			answer := c.askMessages(verb, body)
			require.NotEmpty(c.t, answer.Header.Get(micro.ErrorCodeHeader), "%s %s: %s", verb, body, answer.Data)
		}
	}
}

// accepted asks the messages service and returns its answer.
func (c *contract) accepted(verb, body string, headers ...string) string {
	c.t.Helper()
	answer := c.askMessages(verb, body, headers...)
	require.Empty(c.t, answer.Header.Get(micro.ErrorCodeHeader), "%s %s: %s", verb, body, answer.Data)
	return string(answer.Data)
}

// pace asks the control service, well and badly.
func (c *contract) pace() {
	testenv.Eventually(c.t, func() bool {
		overview, err := c.control("status", "")
		return err == nil && len(overview.Instances) == 3
	})
	for body, in := range map[string]string{"{}": `"requestId":"r-1"`, `{"batchSize":7}`: `"batchSize":7`} {
		request := &nats.Msg{Subject: c.topology.ControlSubject("configure"), Header: nats.Header{"X-Request-Id": {"r-1"}}, Data: []byte(body)}
		answer, err := c.js.Conn().RequestMsg(request, waitTimeout)
		require.NoError(c.t, err)
		require.Contains(c.t, string(answer.Data), in)
	}
	for _, body := range []string{"", "{}", "no JSON", `{"interval":"soon"}`, `{"batchSize":0}`, `{"x":1}`} {
		_, err := c.control("configure", body)
		var refused *message.Problem
		require.ErrorAs(c.t, err, &refused, body)
	}
}

// examples publishes every example of what others may send. It is taken.
func (c *contract) examples() {
	id, err := message.ParseID(exampleID)
	require.NoError(c.t, err)
	for _, channel := range slices.Sorted(maps.Keys(c.wire.spec.channels)) {
		for _, m := range c.wire.spec.channels[channel].messages {
			for _, example := range m.examples {
				body, err := json.Marshal(example["payload"])
				require.NoError(c.t, err)
				var headers []string
				given, _ := example["headers"].(map[string]any)
				for name, value := range given {
					headers = append(headers, name, value.(string))
				}
				c.sendExample(channel, string(body), headers, id)
			}
		}
	}
}

func (c *contract) sendExample(channel, body string, headers []string, id message.ID) {
	c.t.Helper()
	before := len(c.rejectedMessages())
	switch verb, isMessage := strings.CutSuffix(channel, "Message"); {
	case channel == "intake":
		c.publishIntake(c.topology.IntakeSubject(message.DefaultDestination), body, headers...)
		c.awaitIntakeEmpty()
		require.Len(c.t, c.rejectedMessages(), before, body)
	case channel == "listMessages":
		c.accepted("list", body)
	case isMessage:
		c.sql("DELETE FROM messages WHERE id = '" + exampleID + "'")
		c.insert(draft(func(m *message.Message) { m.ID, m.DeliverAt = id, time.Now().Add(time.Hour) }))
		if verb == "retry" {
			c.accepted("cancel", `{"id":"`+exampleID+`"}`)
		}
		c.accepted(verb, body, headers...)
	case channel == "configure":
		_, err := c.control(channel, body)
		require.NoError(c.t, err)
	}
}

// fired has a schedule put an id back on the queue.
func (c *contract) fired() {
	id := c.api.post(c.t, c.text("later again", ""))
	m := c.awaitStatus(id, message.Retrying)
	c.awaitOn(c.topology.RetrySubject(message.DefaultDestination, id))
	next := time.Now()
	m.NextAttemptAt = &next
	again := events.NewEventBuilder(c.topology, false).ScheduledRetry(m)
	again.MsgID += ".again"
	c.publish(again) // it replaces the one that the sender made
	testenv.Eventually(c.t, func() bool {
		stream, err := c.js.Stream(c.t.Context(), c.topology.DeliveriesStream())
		require.NoError(c.t, err)
		_, err = stream.GetLastMsgForSubject(c.t.Context(), c.topology.RetrySubject(message.DefaultDestination, id))
		return err != nil
	})
	c.accepted("get", `{"id":"`+id.String()+`"}`)
}

// unsent has an attempt of which nothing reaches the webhook.
func (c *contract) unsent() {
	c.send.stop()
	c.runSender("WEBHOOK_URL", "http://"+freeAddr(c.t)+"/")
	c.awaitStatus(c.api.post(c.t, c.text("away", "")), message.Retrying)
}

// endpoints compares the services' endpoints with the description.
func (c *contract) endpoints() {
	var described, there []string
	for _, channel := range c.wire.spec.channels {
		if channel.reply != nil {
			described = append(described, channel.address)
		}
	}
	for _, name := range []string{events.MessagesService, events.ControlService} {
		answer, err := c.js.Conn().Request("$SRV.INFO."+name, nil, waitTimeout)
		require.NoError(c.t, err)
		var info micro.Info
		require.NoError(c.t, json.Unmarshal(answer.Data, &info))
		for _, endpoint := range info.Endpoints {
			there = append(there, endpoint.Subject)
		}
	}
	require.ElementsMatch(c.t, there, described)
}

// streams looks at what the streams kept, and at what the events tell.
func (c *contract) streams() {
	kinds := map[string]int{}
	for _, name := range []string{c.topology.EventsStream(), c.topology.RejectedStream()} {
		for _, msg := range c.everythingIn(name) {
			channel := c.wire.spec.channelOf(msg.Subject())
			require.Equal(c.t, name, channel.stream)
			require.NoError(c.t, c.wire.spec.check(channel, msg.Headers(), msg.Data()))
			kinds[channel.name]++
			var event events.Event
			if name == c.topology.EventsStream() && channel.name != string(message.EventRejected) {
				require.NoError(c.t, json.Unmarshal(msg.Data(), &event))
				require.Equal(c.t, c.full, event.Data.Content != "" || event.Data.Payload != nil || event.Data.ContentOmitted, "%s", msg.Data())
			}
		}
	}
	for _, kind := range message.EventTypes() {
		require.NotZero(c.t, kinds[string(kind)], kind)
	}
}
