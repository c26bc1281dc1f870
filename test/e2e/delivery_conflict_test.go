package e2e_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// noResponse breaks the connection of a request that has arrived.
const noResponse = 0

// inTurn answers the nth call with the nth of the statuses; the last one goes
// on.
func inTurn(rw http.ResponseWriter, n int, statuses ...int) {
	status := statuses[min(n, len(statuses))-1]
	if status != noResponse {
		rw.WriteHeader(status)
		return
	}
	if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func TestAConflictIsJudgedByTheAttemptsBeforeIt(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	const inProgress = "status 409: an earlier attempt may have reached the webhook, which may still work on it"
	cases := map[string]struct {
		statuses []int
		end      message.Status
		attempts int
		text     string
	}{
		"after none":                 {[]int{409}, message.Failed, 1, "status 409"},
		"after a known outcome":      {[]int{503, 409}, message.Failed, 2, "status 409"},
		"after a broken connection":  {[]int{noResponse, 409, 409, 200}, message.Sent, 4, inProgress},
		"later on":                   {[]int{noResponse, 503, 409, 200}, message.Sent, 4, inProgress},
		"after a gateway gave up":    {[]int{504, 409, 200}, message.Sent, 3, inProgress},
		"until no retries are left":  {[]int{noResponse, 409}, message.Failed, 4, inProgress},
		"another payload is refused": {[]int{noResponse, 422}, message.Failed, 2, "status 422"},
	}
	statuses, ids := map[string][]int{}, map[string]message.ID{}
	var drafts []message.Message
	for name, c := range cases {
		m := draft()
		drafts = append(drafts, m)
		statuses[m.ID.String()], ids[name] = c.statuses, m.ID
	}
	w.webhook.respondWith(func(n int, c call, rw http.ResponseWriter, _ *http.Request) { inTurn(rw, n, statuses[c.ID]...) })
	w.runDispatcher()
	w.runSender("RETRY_BASE", "20ms")
	w.insert(drafts...)
	for name, c := range cases {
		m := w.awaitStatus(ids[name], message.Sent, message.Failed)
		require.Equal(t, c.end, m.Status, name)
		require.Equal(t, c.attempts, m.Attempts, name)
		require.Equal(t, c.text, m.LastError, name)
		attempts, err := w.store.Attempts(t.Context(), m.ID)
		require.NoError(t, err)
		for i, attempt := range attempts {
			require.Equal(t, c.statuses[min(i, len(c.statuses)-1)], attempt.HTTPStatus, name)
			require.False(t, attempt.Unsent, name)
		}
	}
}

// A sender that dies tells no outcome, and the webhook may have its request.
func TestAConflictAfterASenderDiedIsRetried(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.insert(draft())
	older := w.tick(time.Nanosecond)[0] // its lease is over at once
	newer := w.tick(time.Hour, db.ExpiredLease{ID: older.ID, Destination: older.Destination, ClaimNumber: older.ClaimNumber})[0]
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) { inTurn(rw, n, 409, 200) })
	w.runDispatcher()
	w.runSender()
	w.emit(events.OriginReclaim, newer)
	require.Equal(t, 2, w.awaitStatus(newer.ID, message.Sent).Attempts)
}

func TestAFailureToReachTheWebhookIsNoUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	addr := freeAddr(t)
	w.runSender("WEBHOOK_URL", "http://"+addr, "RETRY_BASE", "200ms", "RETRY_FACTOR", "1", "MAX_RETRIES", "100")
	id := w.insert(draft())[0]
	w.awaitStatus(id, message.Retrying)
	listener, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusConflict) }))
	require.NoError(t, server.Listener.Close())
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)

	require.Equal(t, "status 409", w.awaitStatus(id, message.Failed).LastError)
	attempts, err := w.store.Attempts(t.Context(), id)
	require.NoError(t, err)
	last := len(attempts) - 1
	require.Positive(t, last)
	for _, attempt := range attempts[:last] {
		require.True(t, attempt.Unsent)
	}
	require.False(t, attempts[last].Unsent)
}
