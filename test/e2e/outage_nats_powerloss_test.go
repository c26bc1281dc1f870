package e2e_test

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// JetStream acknowledges before it syncs: a power cut puts it back to what it
// held a while ago, or takes it all, while Postgres keeps every commit. What
// has ended is not sent again, what has not comes to its end.
func TestAJetStreamThatLostItsEndCostsNothingThatPostgresKnows(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(w *pipeline, copied string){
		"put back": func(w *pipeline, copied string) {
			require.NoError(w.t, os.RemoveAll(w.natsDir))
			require.NoError(w.t, os.CopyFS(w.natsDir, os.DirFS(copied)))
		},
		"gone": func(w *pipeline, _ string) { require.NoError(w.t, os.RemoveAll(w.natsDir)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Retries are parked, for longer than the test needs to get there.
			w := newPipeline(t, "LEASE", "1s", "RETRY_BASE", "20100ms")
			w.runDispatcher()
			sender, api := w.runSender(), w.runIngest()
			before := w.insert(drafts(20)...)
			w.requireAllSent(before)
			api.stop()
			for range 10 {
				w.publishIntake(w.topology.IntakeSubject(message.DefaultDestination), hello)
			}
			copied := t.TempDir()
			w.stopNATS()
			require.NoError(t, os.CopyFS(copied, os.DirFS(w.natsDir)))
			w.startNATS()

			w.runIngest()
			w.awaitIntakeEmpty()
			w.insert(drafts(20)...)
			var ended []message.ID
			for _, m := range w.storedMessages() {
				ended = append(ended, m.ID)
			}
			w.requireAllSent(ended)
			w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					rw.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			parked := w.insert(drafts(10)...)
			for _, id := range parked {
				w.awaitStatus(id, message.Retrying)
			}
			sender.stop()
			queued := w.insert(drafts(10)...)
			for _, id := range queued {
				w.awaitStatus(id, message.Queued)
			}
			w.awaitRecorded()
			w.webhook.respondWith(nil)
			w.stopNATS()
			lose(w, copied)
			w.startNATS()
			w.provision()
			w.runSender()

			after := w.insert(drafts(60)...) // enough to pass the numbers that were given out before
			w.requireAllSent(after)
			w.requireAllSent(queued)
			w.requireAllSent(parked)
			for _, id := range append(append(ended, queued...), after...) {
				require.Len(t, w.webhook.received(id.String()), 1, "message %s", id)
			}
			for _, id := range parked {
				require.Len(t, w.webhook.received(id.String()), 2, "message %s was tried and sent", id)
			}
			require.Len(t, w.storedMessages(), len(ended)+len(parked)+len(queued)+len(after), "intake that came again is stored once")
			w.requireNothingLeft()
		})
	}
}

// A stream that lost its end gives its numbers out again. A consumer that has
// had those numbers would pass over what bears them now.
func TestAConsumerThatIsAheadOfItsStreamBeginsOnceMore(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "LEASE", "2s")
	api := w.runAll()
	w.requireAllSent(w.insert(drafts(10)...))
	w.awaitRecorded()

	for _, c := range w.topology.Consumers([]string{message.DefaultDestination}) {
		_, err := w.js.ResetConsumerToSequence(t.Context(), c.Stream, c.Config.Durable, 10_000)
		require.NoError(t, err)
	}
	for range 10 {
		w.publishIntake(w.topology.IntakeSubject(message.DefaultDestination), hello)
	}
	api.post(t, hello)

	w.awaitIntakeEmpty()
	testenv.Eventually(t, func() bool { return len(w.storedMessages()) == 21 })
	var sent []message.ID
	for _, m := range w.storedMessages() {
		sent = append(sent, m.ID)
	}
	w.requireAllSent(sent)
	require.Empty(t, w.webhook.repeated())
	w.awaitRecorded()
	w.requireNothingLeft()
}

// storeFile returns a file of a stream's store; of several that a pattern means,
// the last.
func storeFile(t *testing.T, dir, stream, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", stream, name))
	require.NoError(t, err)
	require.NotEmpty(t, files, name)
	return files[len(files)-1]
}

// flip turns one bit in the middle of a file. In a description that is a bit of
// a value: a name that the server does not know takes the stream offline, until
// somebody removes the file (docs/OPERATIONS.md).
func flip(t *testing.T, name string) {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NotEmpty(t, content, name)
	at, bit := len(content)/2, byte(1<<3)
	if filepath.Base(name) == "meta.inf" {
		digit := bytes.IndexAny(content[at:], "0123456789")
		require.GreaterOrEqual(t, digit, 0)
		at, bit = at+digit, 1
	}
	content[at] ^= bit
	require.NoError(t, os.WriteFile(name, content, 0o600))
}

// removeAll removes the folder of a file, as docs/OPERATIONS.md advises for a
// consumer that the server can't read.
func removeAll(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(filepath.Dir(name)))
}

// halve cuts a file off in the middle.
func halve(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(name, info.Size()/2))
}

// remove takes a file's directory away: what an operator does where the
// server can't.
func remove(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(filepath.Dir(name)))
}

func TestADamagedStoreLosesNoMessage(t *testing.T) {
	t.Parallel()
	const deliveries, told = "DISPATCH_DELIVERIES", "DISPATCH_EVENTS"
	type damage struct {
		stream, file string
		do           func(*testing.T, string)
	}
	tests := map[string]damage{
		"half a block of deliveries":        {deliveries, "msgs/*.blk", halve},
		"half an index of deliveries":       {deliveries, "msgs/index.db", halve},
		"a bit of the senders' position":    {deliveries, "obs/sender-default/o.dat", flip},
		"the senders' position":             {deliveries, "obs/sender-default/o.dat", remove},
		"a bit of the senders' consumer":    {deliveries, "obs/sender-default/meta.inf", flip},
		"a bit of the stream of deliveries": {deliveries, "meta.inf", flip},
		"a bit of a block of events":        {told, "msgs/*.blk", flip},
		"half a block of events":            {told, "msgs/*.blk", halve},
		"a bit of the recorder's position":  {told, "obs/recorder/o.dat", flip},
		"the recorder's position":           {told, "obs/recorder/o.dat", remove},
		"a bit of the recorder's consumer":  {told, "obs/recorder/meta.inf", flip},
		"the recorder's consumer":           {told, "obs/recorder/meta.inf", removeAll},
		"half the stream of events":         {told, "meta.inf", halve},
	}
	if testing.Short() { // make proof tries them all
		maps.DeleteFunc(tests, func(name string, _ damage) bool { return !strings.HasPrefix(name, "half a block") })
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPipeline(t, "LEASE", "1s")
			w.runDispatcher()
			sender := w.runSender()
			sent := w.insert(drafts(20)...)
			w.requireAllSent(sent)
			w.awaitRecorded()
			sender.stop()
			queued := w.insert(drafts(20)...)
			testenv.Eventually(t, func() bool { return w.deliveries().State.Msgs == 20 })
			w.stopNATS()

			tt.do(t, storeFile(t, w.natsDir, tt.stream, tt.file))
			w.startNATS()
			w.provision()
			w.runSender()

			w.requireAllSent(append(sent, queued...))
			require.Empty(t, w.webhook.repeated())
			testenv.Eventually(t, func() bool { return w.deliveries().State.Msgs == 0 })
		})
	}
}

// A broken record of the work queue can have a nats-server go round in circles
// when an id that it lost is emitted again. Nobody calls that ready, and the
// stream can be thrown away: all that it holds is in Postgres.
func TestAWorkQueueThatCantBeReadIsThrownAway(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, testenv.Options{
		Ingests: 1, Dispatchers: 1, Senders: 1,
		Settings: map[string]string{"LEASE": "2s"},
	})
	i.Start()
	require.NoError(t, i.Senders[0].Terminate())
	load := startLoad(t, i.Ingests[0].URL, 2)
	i.awaitEmitted(20)
	nats := i.NATS[0]
	nats.Kill()
	load.await(5)
	block := storeFile(t, nats.Node.Dir, i.top.DeliveriesStream(), "msgs/*.blk")
	flip(t, block)
	nats.Start()
	i.Senders[0].Start()
	load.await(20)

	nats.Kill()
	remove(t, filepath.Dir(block))
	nats.Start()
	testenv.Eventually(t, func() bool { return !i.Dispatchers[0].IsReady() && !i.Senders[0].IsReady() },
		"without the stream nobody is ready")
	i.Provision()
	for _, u := range i.Services() {
		u.WaitReady()
	}
	load.await(20)
	i.requireAllSent(load.stop())
}

func TestAMissingConsumerIsReported(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	address := freeAddr(t)
	w.runDispatcher("HEALTH_ADDR", address)
	ready := func() int {
		response, err := http.Get("http://" + address + "/health/ready")
		if err != nil {
			return 0
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	testenv.Eventually(t, func() bool { return ready() == http.StatusOK })

	require.NoError(t, w.js.DeleteConsumer(t.Context(), w.topology.EventsStream(), events.RecorderConsumer))
	testenv.Eventually(t, func() bool { return ready() == http.StatusServiceUnavailable })
	w.provision()
	testenv.Eventually(t, func() bool { return ready() == http.StatusOK })
}
