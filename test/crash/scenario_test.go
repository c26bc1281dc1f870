package crash_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// scenarios lists every way through every point, the longest first.
func scenarios() []scenario {
	return slices.Concat(senderScenarios(), dispatcherScenarios(), ingestScenarios())
}

// one stores a message.
func one(i *installation) { i.post(body("hello")) }

// four stores messages that are claimed as they arrive, published and recorded
// together.
func four(i *installation) { i.batch(body4()...) }

// tickSoon is when a message is due that a tick is to claim: what is due as it
// arrives need not wait for one.
const tickSoon = 0.3

func oneDue(i *installation) { i.post(body("hello", inSeconds("deliverAt", tickSoon))) }

// fourDue stores messages that one tick claims together.
func fourDue(i *installation) { i.batch(body4(inSeconds("deliverAt", tickSoon))...) }

func body4(more ...string) []string {
	return []string{body("a", more...), body("b", more...), body("c", more...), body("d", more...)}
}

// batch stores messages with one request, as often as it takes. What is
// refused is not promised.
func (i *installation) batch(bodies ...string) {
	i.t.Helper()
	names := make([]string, len(bodies))
	for n, text := range bodies {
		names[n] = key()
		bodies[n] = strings.TrimSuffix(text, "}") + fmt.Sprintf(`,"idempotencyKey":%q}`, names[n])
	}
	status, answer := i.client(http.MethodPost, "/api/v1/messages/batch", "application/json", "["+strings.Join(bodies, ",")+"]")
	require.Equal(i.t, http.StatusOK, status, "%s", answer)
	var reply struct{ Results []item }
	require.NoError(i.t, json.Unmarshal(answer, &reply))
	require.Len(i.t, reply.Results, len(bodies))
	for n, r := range reply.Results {
		if r.Error == nil {
			i.promise(promise{id: r.ID, key: names[n], status: message.Sent, calls: 1})
		}
	}
}

// item is the answer to one message of several.
type item struct {
	ID    message.ID
	Error json.RawMessage
}

// failing has the webhook refuse the first so many calls of each message for
// the moment; wait is its Retry-After in seconds, if any.
func (i *installation) failing(times int, wait string) {
	i.webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		if c.Number > times {
			testenv.Accept(c, w, r)
			return
		}
		if wait != "" {
			w.Header().Set("Retry-After", wait)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
}

// naks is a wait so short that the id stays on the work queue meanwhile.
func naks(i *installation) {
	i.failing(i.times, "")
	i.post(body("hello")).calls = 1 + i.times
}

// parks is one so long that a schedule brings the id back.
func parks(i *installation) {
	i.failing(i.times, "11")
	i.post(body("hello")).calls = 1 + i.times
}

// parksLong is one wait so long that the delivery of before comes again three
// times meanwhile: the retry takes its place on the queue.
func parksLong(i *installation) {
	i.failing(1, "30")
	i.post(body("hello")).calls = 2
}

// senderAway keeps the sender down until the victim has died.
func senderAway(i *installation) {
	i.sender.Kill()
	i.sender.away = true
}

func senderBack(i *installation) {
	i.sender.away = false
	i.sender.Start()
}

// lose takes an id off the work queue, as if the stream had lost it.
func (i *installation) lose(p *promise) {
	i.t.Helper()
	stream, err := i.js.Stream(i.t.Context(), i.top.DeliveriesStream())
	require.NoError(i.t, err)
	subject := i.top.DeliverSubject(message.DefaultDestination, p.id)
	i.eventually("the id is on the work queue", func() bool {
		_, err := stream.GetLastMsgForSubject(i.t.Context(), subject)
		return err == nil
	})
	i.await(p, message.Queued)
	require.NoError(i.t, stream.Purge(i.t.Context(), natsjs.WithPurgeSubject(subject)))
}

// inSeconds is a field with a time from now.
func inSeconds(field string, seconds float64) string {
	at := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	return fmt.Sprintf(`%q:%q`, field, at.UTC().Format(time.RFC3339Nano))
}
