package overload_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A full disk under NATS: HTTP goes on answering 201, since the outbox holds
// what is to be published; publishers get errors; every service says what does
// not work. A NATS server does not write to a stream again that it could not
// write to once, and says so at /healthz: its supervisor restarts it.
// With room again, all goes on.
func TestAFullDiskUnderNATS(t *testing.T) {
	t.Parallel()
	var d *disk
	i := install(t, testenv.Options{NATSConfig: func(n testenv.NATSNode) string {
		if d == nil {
			d = newDisk(t, n.Dir, 64)
		}
		return n.Config()
	}})
	healthy := func() bool {
		code, _, err := ask(&testenv.Process{URL: "http://" + i.NATS[0].Node.Monitor}, "/healthz")
		return err == nil && code == http.StatusOK
	}
	i.Webhook.RespondWith(testenv.Slowly(time.Second)) // so that a request is under way when the disk is full
	i.Start()
	l := i.load(50 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 20)
	require.True(t, healthy())

	d.Fill()
	i.eventually("publishers are refused", func() bool { return l.answers.refused() > 0 })
	i.awaitHealth(i.ingest(), http.StatusOK, "outbox", "degraded")
	i.awaitHealth(i.dispatcher(), http.StatusServiceUnavailable, "relay", "down")
	i.awaitHealth(i.sender(), http.StatusServiceUnavailable, "events", "down")
	i.more(l.answers, http.StatusCreated, 20)
	require.False(t, healthy(), "who looks after NATS has nothing to go by")

	d.Free()
	require.NoError(t, i.NATS[0].Terminate())
	i.NATS[0].Start()
	i.isReady(i.Services()...)
	refused := l.answers.refused()
	i.more(l.answers, http.StatusCreated, 20)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK)
	t.Logf("%d publishes were refused", refused)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}
