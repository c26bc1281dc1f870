package overload_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// limit changes a stream as somebody with the nats tool might.
func (i *installation) limit(stream string, change func(*natsjs.StreamConfig)) {
	i.t.Helper()
	s, err := i.js.Stream(i.t.Context(), stream)
	require.NoError(i.t, err)
	config := s.CachedInfo().Config
	change(&config)
	_, err = i.js.UpdateStream(i.t.Context(), config)
	require.NoError(i.t, err)
}

func (i *installation) stream(name string) natsjs.StreamState {
	i.t.Helper()
	s, err := i.js.Stream(i.t.Context(), name)
	require.NoError(i.t, err)
	return s.CachedInfo().State
}

func (i *installation) count(query string, args ...any) (n int) {
	i.t.Helper()
	i.asSuperuser(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, query, args...).Scan(&n)
	})
	return n
}

// EVENTS is full while nobody records: what the senders told last must not
// make room for anything. Else their messages would be sent once more, when
// their leases are over.
func TestEventsThatAreNotRecordedAreKept(t *testing.T) {
	t.Parallel()
	const messages = 20
	i := install(t, testenv.Options{Settings: map[string]string{"LEASE": "2s"}})
	i.promises.NoEvents = true // the stream holds but the last of them
	open := make(chan struct{})
	i.Webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		select {
		case <-open:
			testenv.Accept(c, w, r)
		case <-r.Context().Done():
		}
	})
	const room = 128 << 10
	i.limit("DISPATCH_EVENTS", func(c *natsjs.StreamConfig) { c.MaxBytes = room })
	i.Start()
	a := newResponses()
	for n := range messages {
		require.True(t, i.post(a, fmt.Sprintf("early-%d", n), ""))
	}
	i.eventually("every request is under way", func() bool { return len(i.Webhook.Received("")) == messages })
	i.dispatcher().Kill()
	close(open)
	i.eventually("every outcome is published", func() bool {
		return i.metric(i.sender(), `dispatch_sender_deliveries_held{destination="default"}`) == 0
	})

	// More created events than the stream takes.
	before := i.stream("DISPATCH_EVENTS")
	filler := strings.Repeat("x", 100)
	for n := 0; i.stream("DISPATCH_EVENTS").Bytes < room*9/10 && n < 4000; n++ {
		require.True(t, i.post(a, fmt.Sprintf("late-%d", n), filler))
	}
	for n := range 50 {
		require.True(t, i.post(a, fmt.Sprintf("later-%d", n), filler))
	}
	require.Equal(t, before.FirstSeq, i.stream("DISPATCH_EVENTS").FirstSeq, "events that nobody recorded are gone")
	l := i.load(100 * time.Millisecond)
	i.awaitHealth(i.ingest(), http.StatusOK, "outbox", "degraded")

	i.dispatcher().Start()
	i.isReady(i.Services()...)
	l.stop()
	i.requireOnly(a, http.StatusCreated)
	i.requireOnly(l.answers, http.StatusCreated)
	i.settle()
	require.LessOrEqual(t, i.stream("DISPATCH_EVENTS").Bytes, uint64(room))
	i.requireMemory(maxMemory, i.Services()...)
}

// Without outcomes, nothing that EVENTS holds has yet to be recorded: it makes
// room all the same.
func TestEventsWithoutOutcomesMakeRoom(t *testing.T) {
	t.Parallel()
	i := install(t, testenv.Options{Settings: map[string]string{"PROCESSING_INTERVAL": "1h"}})
	i.promises.NoEvents = true // the stream holds but the last of them
	const room = 128 << 10
	i.limit("DISPATCH_EVENTS", func(c *natsjs.StreamConfig) { c.MaxBytes = room })
	i.Start()
	a := newResponses()
	for n := range 4 * room / 500 { // an event has more than 500 bytes
		require.True(t, i.post(a, fmt.Sprintf("waits-%d", n), strings.Repeat("x", 100)))
	}
	i.requireOnly(a, http.StatusCreated)
	i.eventually("every event is published", func() bool { return i.count("SELECT count(*) FROM outbox") == 0 })
	require.LessOrEqual(t, i.stream("DISPATCH_EVENTS").Bytes, uint64(room))
	require.Greater(t, i.stream("DISPATCH_EVENTS").FirstSeq, uint64(1))
}
