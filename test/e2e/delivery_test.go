package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

const hello = `{"to":"+905551111111","content":"hello"}`

func TestAMessageIsStoredEmittedDeliveredAndRecorded(t *testing.T) {
	t.Parallel()
	server, err := redis.Start(t.Context(), redis.Config{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(t.Context()) })
	w := newPipeline(t, "REDIS_URL", server.URL())
	api := w.runAll()

	id := api.post(t, `{"to":"+90 555 111 11 11","content":"hello","metadata":{"order":"7"},"type":"order.shipped"}`)

	m := w.awaitStatus(id, message.Sent)
	require.Equal(t, "+905551111111", m.To)
	require.Equal(t, "ext-"+id.String(), m.ExternalID)
	require.Equal(t, 1, m.Attempts)
	require.NotNil(t, m.SentAt)
	require.Equal(t, message.Sent, api.get(t, id).Status)

	calls := w.webhook.received(id.String())
	require.Len(t, calls, 1)
	require.JSONEq(t, `{"to":"+905551111111","content":"hello"}`, string(calls[0].Body))
	require.Equal(t, "1", calls[0].Attempt)

	told := w.events(id, 3)
	require.Equal(t, []message.EventType{message.EventCreated, message.EventQueued, message.EventSent}, kinds(told))
	for i, event := range told {
		require.Equal(t, events.Sequence(int64(i+1)), event.Sequence)
		require.Empty(t, event.Data.Content, "an event does not carry the content")
		require.Empty(t, event.Data.Metadata)
	}

	require.Equal(t, "SENT", redisField(t, server.URL(), "dispatch:message:"+id.String(), "status"))
	require.Equal(t, m.ExternalID, redisField(t, server.URL(), "dispatch:message:"+id.String(), "externalId"))
}

func TestAPayloadIsSentAsItCame(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runAll()

	payload := `{"b": 1,  "a":"\u0000 ü","n":12345678901234567890}`
	id := api.post(t, `{"to":"+905551111111","payload":`+payload+`}`)

	w.awaitStatus(id, message.Sent)
	require.Equal(t, payload, string(w.webhook.received(id.String())[0].Body))
}

func TestAWebhookThatFailsTwiceIsTriedAThirdTime(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETRY_BASE", "400ms", "RETRY_FACTOR", "3")
	api := w.runAll()
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n <= 2 {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		rw.WriteHeader(http.StatusOK)
	})

	id := api.post(t, hello)

	m := w.awaitStatus(id, message.Sent)
	require.Equal(t, 3, m.Attempts)
	calls := w.webhook.received(id.String())
	require.Len(t, calls, 3)
	requireDelay(t, calls[0], calls[1], 200*time.Millisecond)
	requireDelay(t, calls[1], calls[2], 600*time.Millisecond)

	_, _, body := api.request(t, http.MethodGet, "/api/v1/messages/"+id.String()+"/attempts", "")
	var answer struct{ Data []message.Attempt }
	require.NoError(t, json.Unmarshal(body, &answer))
	require.Len(t, answer.Data, 3)
	for i, attempt := range answer.Data {
		require.Equal(t, i+1, attempt.Number)
	}
	require.Equal(t, []string{"retry", "retry", "success"}, []string{answer.Data[0].Outcome, answer.Data[1].Outcome, answer.Data[2].Outcome})
	require.Equal(t, []int{500, 500, 200}, []int{answer.Data[0].HTTPStatus, answer.Data[1].HTTPStatus, answer.Data[2].HTTPStatus})
}

// requireDelay checks that a retry did not come early: the jittered delay is
// d/2 at least. How late it may come is no matter of a test.
func requireDelay(t *testing.T, earlier, later call, least time.Duration) {
	t.Helper()
	require.GreaterOrEqual(t, later.At.Sub(earlier.At), least)
}

func TestRetryAfterIsRespected(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETRY_BASE", "50ms")
	api := w.runAll()
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			rw.Header().Set("Retry-After", "3")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	})

	id := api.post(t, hello)

	w.awaitStatus(id, message.Sent)
	calls := w.webhook.received(id.String())
	require.Len(t, calls, 2)
	requireDelay(t, calls[0], calls[1], 3*time.Second)
}

func TestARefusalIsTriedOnce(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 410, 301} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newPipeline(t)
			api := w.runAll()
			w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) })

			id := api.post(t, hello)

			m := w.awaitStatus(id, message.Failed)
			require.Equal(t, 1, m.Attempts)
			require.Contains(t, m.LastError, fmt.Sprint(status))
			require.Len(t, w.webhook.received(id.String()), 1)
		})
	}
}

func TestAWebhookThatNeverWorksEndsFailedAndARetryBringsItBack(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "MAX_RETRIES", "2", "RETRY_BASE", "50ms")
	api := w.runAll()
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusServiceUnavailable)
	})

	id := api.post(t, hello)

	m := w.awaitStatus(id, message.Failed)
	require.Equal(t, 3, m.Attempts, "1 + MAX_RETRIES")
	require.Len(t, w.webhook.received(id.String()), 3)

	w.webhook.respondWith(nil)
	status, _, body := api.request(t, http.MethodPost, "/api/v1/messages/"+id.String()+"/retry", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	m = w.awaitStatus(id, message.Sent)
	require.Equal(t, 4, m.Attempts, "attempt numbers never start anew")
	require.Equal(t, "4", w.webhook.received(id.String())[3].Attempt)
}

func TestWhatIsCancelledIsNotSent(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETRY_BASE", "1h", "RETRY_MAX", "1h")
	api := w.runAll()
	later := api.post(t, fmt.Sprintf(`{"to":"+905551111111","content":"later","deliverAt":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)))
	status, _, body := api.request(t, http.MethodPost, "/api/v1/messages/"+later.String()+"/cancel", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.Equal(t, message.Cancelled, api.get(t, later).Status)

	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	parked := api.post(t, hello)
	w.awaitStatus(parked, message.Retrying)
	stream, err := w.js.Stream(t.Context(), w.topology.DeliveriesStream())
	require.NoError(t, err)
	testenv.Eventually(t, func() bool {
		_, err := stream.GetLastMsgForSubject(t.Context(), w.topology.RetrySubject(message.DefaultDestination, parked))
		return err == nil
	}, "it is parked for the next attempt")
	status, _, body = api.request(t, http.MethodPost, "/api/v1/messages/"+parked.String()+"/cancel", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	testenv.Eventually(t, func() bool {
		_, err := stream.GetLastMsgForSubject(t.Context(), w.topology.RetrySubject(message.DefaultDestination, parked))
		return err != nil
	}, "the schedule of the retry is purged")

	sent := w.awaitStatus(api.post(t, hello), message.Sent, message.Retrying)
	status, _, body = api.request(t, http.MethodPost, "/api/v1/messages/"+sent.ID.String()+"/cancel", "")
	if sent.Status == message.Sent {
		require.Equal(t, http.StatusConflict, status, "%s", body)
	}
	require.Empty(t, w.webhook.received(later.String()))
}

func TestWhatExpiresIsNotSent(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETRY_BASE", "1h", "RETRY_MAX", "1h")
	api := w.runAll()
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })

	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	waiting := api.post(t, fmt.Sprintf(`{"to":"+905551111111","content":"a","deliverAt":%q,"expiresAt":%q}`, in(500*time.Millisecond), in(501*time.Millisecond)))
	failing := api.post(t, fmt.Sprintf(`{"to":"+905551111111","content":"b","expiresAt":%q}`, in(time.Minute)))

	m := w.awaitStatus(failing, message.Expired)
	require.Equal(t, 1, m.Attempts, "a retry after expiresAt is not waited for")
	w.awaitStatus(waiting, message.Expired, message.Retrying)
}

func TestStopOutlivesARestartOfEverything(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	dispatcher, sender, api := w.runDispatcher(), w.runSender(), w.runIngest()
	w.awaitStatus(api.post(t, hello), message.Sent)

	var overview message.Overview
	status, _, body := api.request(t, http.MethodPost, "/api/v1/messaging/stop", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &overview))
	require.Equal(t, message.StateStopped, overview.State)
	require.True(t, *overview.Changed)
	id := api.post(t, hello)

	for _, service := range []*runningService{api, sender, dispatcher} {
		service.stop()
	}
	w.stopNATS()
	w.startNATS()
	w.provision()
	w.runDispatcher()
	w.runSender()
	api = w.runIngest()

	_, _, body = api.request(t, http.MethodGet, "/api/v1/messaging/status", "")
	require.NoError(t, json.Unmarshal(body, &overview))
	require.Equal(t, message.StateStopped, overview.State)
	// A second stop answers only after every tick that was under way.
	testenv.Eventually(t, func() bool {
		status, _, body = api.request(t, http.MethodPost, "/api/v1/messaging/stop", "")
		return status == http.StatusOK
	})
	require.NoError(t, json.Unmarshal(body, &overview))
	require.False(t, *overview.Changed)
	require.Equal(t, message.Pending, api.get(t, id).Status)
	require.EqualValues(t, 1, overview.Counts[message.Pending])

	status, _, body = api.request(t, http.MethodPost, "/api/v1/messaging/start", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	w.awaitStatus(id, message.Sent)
}

// events returns the events of a message in the order of the stream, once
// there are count of them.
func (w *pipeline) events(id message.ID, count int) []events.Event {
	w.t.Helper()
	consumer, err := w.js.OrderedConsumer(w.t.Context(), w.topology.EventsStream(), natsjs.OrderedConsumerConfig{})
	require.NoError(w.t, err)
	var told []events.Event
	for len(told) < count {
		msg, err := consumer.Next(natsjs.FetchMaxWait(waitTimeout))
		require.NoError(w.t, err)
		var event events.Event
		require.NoError(w.t, json.Unmarshal(msg.Data(), &event))
		if event.Subject == id.String() {
			told = append(told, event)
		}
	}
	return told
}

func kinds(told []events.Event) []message.EventType {
	list := make([]message.EventType, len(told))
	for i, event := range told {
		list[i] = message.EventType(event.Type[len("dispatch.message."):])
	}
	return list
}
