package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func TestAFinishedRequestOutlivesTheAbsenceOfNATS(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.runSender("SENDER_CONCURRENCY", "4")
	answer, release := held(t)
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { <-answer; rw.WriteHeader(http.StatusOK) })
	ids := w.insert(drafts(12)...)
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) == 4 })

	w.stopNATS()
	release()
	require.Never(t, func() bool { return len(w.webhook.received("")) > 4 }, 3*time.Second, 10*time.Millisecond,
		"no new work while an outcome can't be told")
	w.startNATS()

	w.requireAllSent(ids)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

func TestIDsAreKeptWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	postgres := w.viaProxy("DATABASE_URL")
	w.runSender("DATABASE_URL", postgres.URL)
	w.awaitSenders(1)
	w.awaitStatus(w.insert(draft())[0], message.Sent)

	postgres.Cut()
	ids := w.insert(drafts(3)...)
	w.awaitAckPending(3)
	w.runSender() // would get them after the ack wait of 15 s, were they not kept
	require.Never(t, func() bool { return len(w.webhook.received("")) > 1 }, 17*time.Second, 100*time.Millisecond)
	postgres.Heal()

	w.requireAllSent(ids)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

// A sender that is cut off from NATS for longer than the ack wait loses what
// it holds to another one. Only what was in flight may be sent twice.
func TestWhatASenderThatIsCutOffHoldsIsSentOnce(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	nats := w.viaProxy("NATS_URL")
	w.runSender("NATS_URL", nats.URL, "SENDER_CONCURRENCY", "1")
	w.awaitSenders(1)
	answer, release := held(t)
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 && len(w.webhook.received("")) == 1 {
			<-answer
		}
		rw.WriteHeader(http.StatusOK)
	})
	ids := w.insert(drafts(2)...)
	w.awaitAckPending(2)
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) == 1 })
	flying := w.webhook.received("")[0].ID
	nats.Cut()
	release()

	w.runSender()
	w.requireAllSent(ids)
	nats.Heal()
	w.awaitSenders(2)
	w.requireNothingLeft()
	for _, id := range w.webhook.repeated() {
		require.Equal(t, flying, id)
	}
}

func TestASenderWaitsForWhatIsNotProvisionedAndStopsWithoutNATS(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	require.NoError(t, w.js.DeleteStream(t.Context(), w.topology.DeliveriesStream()))
	address := freeAddr(t)
	sender := w.runSender("HEALTH_ADDR", address)
	ready := func() (int, string) {
		response, err := http.Get("http://" + address + "/health/ready")
		if err != nil {
			return 0, ""
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	testenv.Eventually(t, func() bool {
		status, body := ready()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "run: dispatch provision")
	})

	w.provision()
	w.awaitSenders(1)
	testenv.Eventually(t, func() bool { status, _ := ready(); return status == http.StatusOK })
	m := w.claimed(draft())[0]
	w.emit(events.OriginTick, m)
	w.awaitCalls(m.ID, 1)

	w.stopNATS()
	testenv.Eventually(t, func() bool { status, _ := ready(); return status == http.StatusServiceUnavailable })
	sender.stop() // fails the test on an error
}
