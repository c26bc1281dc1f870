package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// acceptedCount counts what a webhook accepted of each message. It refuses the first
// attempt of some, so that retries pass from one version to the other.
type acceptedCount struct {
	mu       sync.Mutex
	accepted map[string]int
}

func (y *acceptedCount) answer(n int, c call, rw http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-r.Context().Done():
		return
	}
	if n == 1 && strings.HasSuffix(c.ID, "0") {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	y.mu.Lock()
	y.accepted[c.ID]++
	y.mu.Unlock()
	rw.WriteHeader(http.StatusOK)
}

// requireOnce expects that every message was accepted by the webhook once,
// and nothing else was.
func (y *acceptedCount) requireOnce(t testing.TB, ids []message.ID) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, id := range ids {
		require.Equal(t, 1, y.accepted[id.String()], "message %s", id)
	}
	for id, times := range y.accepted { // also of those whose 201 got lost
		require.Equal(t, 1, times, "message %s", id)
	}
}

// provisionFrom runs a program's provision to its end.
func (w *pipeline) provisionFrom(path string) {
	w.t.Helper()
	p := testenv.NewProcess(w.t, "provision", path, w.env, "provision").Start()
	require.Zero(w.t, p.Wait(), "%s", p.Output)
}

// service starts a service of a program and waits until it is ready.
func (w *pipeline) service(path, name string) *testenv.Process {
	w.t.Helper()
	return testenv.NewService(w.t, name, path, w.env, name).Start().WaitReady()
}

// TestAnUpgradeUnderLoadLosesAndRepeatsNothing goes from the release before
// this one to this one as docs/OPERATIONS.md says, and half of the way back,
// without a pause.
func TestAnUpgradeUnderLoadLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	previous, err := builtPrevious()
	require.NoError(t, err)
	t.Logf("from %s", previous[0])
	older, newer := previous[1], testenv.Build(t)
	require.NotEqual(t, older, newer)

	w := newUnprovisioned(t, "DATABASE_URL", dbtest.EmptyURL(t), "LEASE", "30s")
	y := &acceptedCount{accepted: map[string]int{}}
	w.webhook.respondWith(y.answer)
	w.provisionFrom(older)
	services := func(path string) (ingest, dispatcher, sender *testenv.Process) {
		return w.service(path, "ingest"), w.service(path, "dispatcher"), w.service(path, "sender")
	}
	oldIngest, oldDispatcher, oldSender := services(older)
	oldLoad := startLoad(t, oldIngest.URL, 1)
	oldLoad.await(50)

	w.provisionFrom(newer)
	oldLoad.await(50) // the old ones work on the new schema
	newIngest, newDispatcher, newSender := services(newer)
	newLoad := startLoad(t, newIngest.URL, 1)
	newLoad.await(25)

	require.NoError(t, oldSender.Terminate())
	newLoad.await(25)
	require.NoError(t, oldDispatcher.Terminate())
	newLoad.await(25)
	accepted := oldLoad.stop()
	require.NoError(t, oldIngest.Terminate())
	newLoad.await(25)

	// The new ones turn out badly: the old ones take over again.
	w.service(older, "dispatcher")
	w.service(older, "sender")
	require.NoError(t, newDispatcher.Terminate())
	require.NoError(t, newSender.Terminate())
	newLoad.await(25)
	accepted = append(accepted, newLoad.stop()...)

	w.requireAllSent(accepted)
	y.requireOnce(t, accepted)
	w.requireNothingLeft()
}
