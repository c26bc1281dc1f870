package overload_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// INTAKE is full, since nobody stores: publishers are refused, what was
// acknowledged is stored later, and there is room again.
func TestAFullIntake(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	i := install(t, testenv.Options{})
	i.Start()
	i.limit("DISPATCH_INTAKE", func(c *natsjs.StreamConfig) { c.MaxBytes = 64 << 10 })
	require.NoError(t, i.ingest().Terminate())
	a := newResponses()
	n := 0
	for ; a.refused() == 0; n++ {
		i.publish(a, fmt.Sprintf("filling-%d", n), "")
	}
	require.Contains(t, strings.Join(slices.Collect(maps.Keys(a.acks)), ", "), "maximum bytes exceeded")
	i.ingest().Start()
	i.isReady(i.Services()...)
	i.eventually("there is room again", func() bool { n++; return i.publish(a, fmt.Sprintf("later-%d", n), "") })
	i.settle()
}

// The server's storage is used up: nothing is published, so the outbox holds
// what is stored, the senders hold what they have sent, and nothing is sent
// twice. With more storage all goes on.
func TestNATSHasNoStorageLeft(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	storage := "1TB"
	i := install(t, testenv.Options{NATSConfig: func(n testenv.NATSNode) string {
		return fmt.Sprintf("server_name: nats\nlisten: %q\njetstream { store_dir: %q, max_file_store: %s, sync_interval: 1s }\n", n.Listen, n.Dir, storage)
	}})
	i.Webhook.RespondWith(testenv.Slowly(time.Second))
	for _, stream := range []string{"DISPATCH_EVENTS", "DISPATCH_INTAKE"} { // else they reserve it
		i.limit(stream, func(c *natsjs.StreamConfig) { c.MaxBytes = -1 })
	}
	again := func(size string) {
		storage = size
		require.NoError(t, i.NATS[0].Terminate())
		i.NATS[0].Start()
	}
	again("96KB")
	i.Start()
	l := i.load(50 * time.Millisecond)
	i.eventually("publishers are refused", func() bool { return l.answers.refused() > 0 })
	i.awaitHealth(i.ingest(), http.StatusOK, "outbox", "degraded")
	i.awaitHealth(i.dispatcher(), http.StatusServiceUnavailable, "relay", "down")
	i.more(l.answers, http.StatusCreated, 20)
	again("1TB")
	i.isReady(i.Services()...)
	i.more(l.answers, http.StatusCreated, 20)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}
