package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func TestThePaceHoldsWhileDispatchersAreKilledAndNATSGoesAway(t *testing.T) {
	t.Parallel()
	const (
		interval   = 2 * time.Second
		batch      = 2
		count      = 30
		dispatcher = 3
	)
	w := newPipeline(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", fmt.Sprint(batch))
	w.insert(drafts(count)...)
	running := make([]*testenv.Process, dispatcher)
	for i := range running {
		running[i] = w.startService("dispatcher")
	}

	// No sender runs, so that every emission stays on the work queue with the
	// time at which the server took it.
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	outage := sync.OnceFunc(func() {
		w.stopNATS()
		<-time.After(5 * interval)
		w.startNATS()
	})
	for emitted := w.emitted(); len(emitted) < count; emitted = w.emitted() {
		if len(emitted) >= count/3 {
			outage()
		}
		<-time.After(time.Duration(random.Int64N(int64(interval))))
		victim := random.IntN(dispatcher)
		running[victim].Kill()
		running[victim] = w.startService("dispatcher")
	}

	emitted := w.emitted()
	require.Len(t, emitted, count)
	require.EqualValues(t, count, w.deliveries().State.LastSeq, "no id was emitted twice")
	for i := batch; i < count; i++ {
		apart := emitted[i].Time.Sub(emitted[i-batch].Time)
		require.GreaterOrEqual(t, apart, interval, "emissions %d and %d", i-batch, i)
	}
}

// emitted lists what is on the work queue, in the order of emission.
func (w *pipeline) emitted() []*natsjs.RawStreamMsg {
	w.t.Helper()
	var list []*natsjs.RawStreamMsg
	stream, err := w.js.Stream(w.t.Context(), w.topology.DeliveriesStream())
	require.NoError(w.t, err)
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		if msg, err := stream.GetMsg(w.t.Context(), sequence); err == nil {
			list = append(list, msg)
		}
	}
	return list
}

func (w *pipeline) deliveries() *natsjs.StreamInfo {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.topology.DeliveriesStream())
	require.NoError(w.t, err)
	return stream.CachedInfo()
}

func TestASenderKilledEightTimesDeliversEverything(t *testing.T) {
	t.Parallel()
	const count = 300
	w := newPipeline(t)
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(3 * time.Second):
			rw.WriteHeader(http.StatusOK)
		case <-r.Context().Done():
		}
	})
	w.startService("dispatcher").WaitReady()
	ids := w.insert(drafts(count)...)

	for range 8 {
		sender := w.startService("sender")
		<-time.After(1500 * time.Millisecond)
		sender.Kill()
	}
	w.startService("sender")

	for _, id := range ids {
		m := w.awaitStatus(id, message.Sent, message.Failed)
		require.Equal(t, message.Sent, m.Status, "a killed sender uses up no retry: %s", m.LastError)
	}
	w.requireNothingLeft()
}

func TestKillingAServiceUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"ingest", "dispatcher", "sender"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			w := newPipeline(t)
			w.webhook.respondWith(slowly(20 * time.Millisecond))
			services := map[string]*testenv.Process{}
			for _, name := range []string{"ingest", "dispatcher", "sender"} {
				services[name] = w.startService(name).WaitReady()
			}
			addr := strings.TrimPrefix(services["ingest"].URL, "http://")

			load := startLoad(t, services["ingest"].URL, 8)
			for range 3 {
				load.await(200)
				services[victim].Kill()
				if victim == "ingest" {
					services[victim] = w.startService(victim, "HTTP_ADDR", addr)
				} else {
					services[victim] = w.startService(victim)
				}
			}
			load.await(200)
			accepted := load.stop()

			w.requireAllSent(accepted)
			twice := w.webhook.repeated()
			if victim != "sender" {
				require.Empty(t, twice, "only a killed sender may repeat a request")
			}
			require.LessOrEqual(t, len(twice), 3*64, "no more than was in flight at the three kills")
			w.requireNothingLeft()
		})
	}
}

func TestSIGTERMUnderLoadDrainsAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.webhook.respondWith(slowly(50 * time.Millisecond))
	services := map[string]*testenv.Process{}
	for _, name := range []string{"ingest", "dispatcher", "sender"} {
		services[name] = w.startService(name).WaitReady()
	}
	addr := strings.TrimPrefix(services["ingest"].URL, "http://")

	load := startLoad(t, services["ingest"].URL, 8)
	for _, name := range []string{"sender", "dispatcher", "ingest", "sender", "dispatcher", "ingest"} {
		load.await(100)
		require.NoError(t, services[name].Terminate())
		if name == "ingest" {
			services[name] = w.startService(name, "HTTP_ADDR", addr)
		} else {
			services[name] = w.startService(name)
		}
	}
	load.await(100)
	accepted := load.stop()

	w.requireAllSent(accepted)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

func slowly(delay time.Duration) func(int, call, http.ResponseWriter, *http.Request) {
	return func(_ int, _ call, rw http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
			rw.WriteHeader(http.StatusOK)
		case <-r.Context().Done():
		}
	}
}

func drafts(count int) []message.Message {
	list := make([]message.Message, count)
	for i := range list {
		list[i] = draft()
	}
	return list
}

// repeated lists the ids that reached the webhook more than once.
func (h *webhook) repeated() []string {
	count := map[string]int{}
	for _, c := range h.received("") {
		count[c.ID]++
	}
	var twice []string
	for id, n := range count {
		if n > 1 {
			twice = append(twice, id)
		}
	}
	return twice
}

// requireAllSent waits until every accepted message is SENT and has reached
// the webhook.
func (w *pipeline) requireAllSent(accepted []message.ID) {
	w.t.Helper()
	require.NotEmpty(w.t, accepted)
	for _, id := range accepted {
		w.awaitStatus(id, message.Sent)
	}
	arrived := map[string]bool{}
	for _, c := range w.webhook.received("") {
		arrived[c.ID] = true
	}
	for _, id := range accepted {
		require.True(w.t, arrived[id.String()], "message %s never reached the webhook", id)
	}
}

// requireNothingLeft waits until no outbox row and no delivery is left.
func (w *pipeline) requireNothingLeft() {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool {
		rows, _, err := w.store.OutboxBacklog(w.t.Context())
		return err == nil && rows == 0 && w.deliveries().State.Msgs == 0
	}, "an outbox row or a delivery is left over")
}

// load posts messages on several connections until it is stopped.
type load struct {
	t      testing.TB
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	accepted []message.ID
	more     chan struct{} // signalled at every acceptance
	refused  atomic.Int64  // requests that were not accepted
}

func startLoad(t testing.TB, url string, connections int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, cancel: cancel, more: make(chan struct{}, 1)}
	for range connections {
		l.done.Go(func() {
			for ctx.Err() == nil {
				if id, ok := postOnce(ctx, url); ok {
					l.accept(id)
				} else {
					l.refused.Add(1)
					<-time.After(20 * time.Millisecond) // nobody answers: a client would wait a little too
				}
			}
		})
	}
	t.Cleanup(cancel)
	return l
}

// postOnce posts a message; only a 201 counts.
func postOnce(ctx context.Context, url string) (message.ID, bool) {
	// A request that is cancelled half-way might be accepted without our
	// knowing, so it is bounded by its own time only.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/messages", strings.NewReader(hello))
	if err != nil {
		return message.ID{}, false
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return message.ID{}, false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusCreated {
		return message.ID{}, false
	}
	var m message.Message
	err = json.Unmarshal(body, &m)
	return m.ID, err == nil
}

func (l *load) accept(id message.ID) {
	l.mu.Lock()
	l.accepted = append(l.accepted, id)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// await waits until that many more messages are accepted.
func (l *load) await(more int) {
	l.t.Helper()
	deadline := time.After(waitTimeout)
	for target := l.count() + more; l.count() < target; {
		select {
		case <-l.more:
		case <-deadline:
			require.FailNow(l.t, "messages are no longer accepted")
		}
	}
}

func (l *load) stop() []message.ID {
	l.cancel()
	l.done.Wait()
	return l.accepted
}
