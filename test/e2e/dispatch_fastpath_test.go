package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// origin is how a message's id came to be on the work queue.
func (w *pipeline) origin(id message.ID) string {
	w.t.Helper()
	return w.awaitOn(w.topology.DeliverSubject(message.DefaultDestination, id)).Header.Get(events.HeaderOrigin)
}

// awaitArrivals posts until a message is emitted as it arrives, and returns it.
func (w *pipeline) awaitArrivals(api *runningService) (id message.ID) {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool {
		id = api.post(w.t, hello)
		return w.origin(id) == events.OriginFastPath
	})
	return id
}

func TestTheFastPathEmitsAtOnceWhileNothingWaits(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	dispatcher := w.runDispatcher()
	api := w.runIngest()
	id := w.awaitArrivals(api)
	m := api.get(t, id)
	require.Equal(t, message.Queued, m.Status)
	told := w.events(id, 2)
	require.Equal(t, []message.Status{message.Pending, message.Queued}, []message.Status{told[0].Data.Status, told[1].Data.Status})
	require.Equal(t, []string{events.Sequence(1), events.Sequence(2)}, []string{told[0].Sequence, told[1].Sequence})
	require.Nil(t, told[0].Data.QueuedAt)
	require.Equal(t, m.QueuedAt, told[1].Data.QueuedAt)

	later := api.post(t, `{"to":"+905551111111","content":"later","deliverAt":"`+time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)+`"}`)
	require.Equal(t, events.OriginTick, w.origin(later))

	dispatcher.stop()
	alone := api.post(t, hello)
	require.Equal(t, events.OriginFastPath, w.origin(alone), "it takes no dispatcher")
	w.runSender()
	w.runDispatcher() // which records
	for _, id := range []message.ID{id, later, alone} {
		require.Equal(t, 1, w.awaitStatus(id, message.Sent).Attempts)
	}
	require.Empty(t, w.webhook.repeated())
}

func TestTheFastPathEmitsNothingAfterAStop(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	api := w.runIngest()
	w.awaitArrivals(api)

	// Many at once, so that some are being stored when it is stopped.
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			response, err := http.Post(api.url+"/api/v1/messages", "application/json", strings.NewReader(hello))
			if err != nil {
				t.Error(err)
				return
			}
			response.Body.Close()
			if response.StatusCode != http.StatusCreated {
				t.Error(response.Status)
			}
		}
	}()
	_, err := w.control("stop", "")
	require.NoError(t, err)
	emitted := w.deliveries().State.LastSeq
	<-done
	id := api.post(t, hello)
	require.Equal(t, message.Pending, api.get(t, id).Status)
	require.Never(t, func() bool { return w.deliveries().State.LastSeq > emitted }, 2*moment, 10*time.Millisecond)

	_, err = w.control("start", "")
	require.NoError(t, err)
	require.Equal(t, events.OriginTick, w.origin(id))
}

// An ingest that dies between the commit and the publication leaves both to
// the relay. So does one that can't publish, and a stop waits for that.
func TestWhatItsIngestClaimedAndNeverPublishedIsRelayed(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	builder := events.NewEventBuilder(w.topology, false)
	var id message.ID
	testenv.Eventually(t, func() bool {
		stored, _, err := w.store.InsertFastPath(t.Context(), time.Now(), drafts(1), func(created []message.Message) []byte {
			return events.EncodeOutbox(builder.Created(created))
		})
		require.NoError(t, err)
		id = stored[0].Message.ID
		return stored[0].Message.Status == message.Queued
	})

	_, err := w.control("stop", "")

	require.NoError(t, err)
	claims, err := w.store.UnpublishedClaims(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, claims)
	require.Equal(t, events.OriginRelay, w.origin(id))
	require.Len(t, w.events(id, 2), 2)
	w.runSender()
	w.awaitStatus(id, message.Sent)
	require.Empty(t, w.webhook.repeated())
}

// Behind a queue that is long the ticks keep order, and the queue in its bound.
func TestTheFastPathLeavesALongQueueToTheTick(t *testing.T) {
	t.Parallel()
	const long = 9_100
	w := newPipeline(t)
	for range long / 100 {
		w.insert(drafts(100)...)
	}
	w.runDispatcher()
	w.awaitDeliveries(long)
	api := w.runIngest()
	for range 20 {
		require.Equal(t, events.OriginTick, w.origin(api.post(t, hello)))
	}
	w.runSender()
	w.awaitArrivals(api)
}
