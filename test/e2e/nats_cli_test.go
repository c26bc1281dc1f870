package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// natsTool is the stock command-line tool of NATS, built from its source.
const natsTool = "github.com/nats-io/natscli/nats@v0.5.0"

var natsBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "natscli-test-")
	if err != nil {
		return "", err
	}
	if _, err := process.RemoveAtDeath(dir); err != nil {
		return "", err
	}
	install := exec.Command("go", "install", natsTool)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s: %w\n%s", natsTool, err, out)
	}
	return filepath.Join(dir, "nats"), nil
})

// natsCLI runs the stock tool and returns what it prints.
func (w *pipeline) natsCLI(args ...string) string {
	w.t.Helper()
	binary, err := natsBinary()
	require.NoError(w.t, err)
	cmd := exec.CommandContext(w.t.Context(), binary, append([]string{"--server", w.env["NATS_URL"]}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+w.t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(w.t, err, "nats %v: %s", args, out)
	return string(out)
}

func TestTheStockNATSToolIsEnough(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	services := []*runningService{w.runDispatcher(), w.runSender(), w.runIngest()}

	testenv.Eventually(t, func() bool {
		list := w.natsCLI("micro", "ls")
		return strings.Contains(list, events.MessagesService) && strings.Contains(list, events.ControlService)
	})
	require.Contains(t, w.natsCLI("micro", "info", events.ControlService), "dispatch.control.stop")

	var overview message.Overview
	require.NoError(t, json.Unmarshal([]byte(w.natsCLI("req", "--raw", "dispatch.control.status", "")), &overview))
	require.Equal(t, message.StateRunning, overview.State)

	var created message.Message
	require.NoError(t, json.Unmarshal([]byte(w.natsCLI("req", "--raw", "dispatch.messages.create", hello)), &created))
	w.awaitStatus(created.ID, message.Sent)

	w.natsCLI("pub", "--jetstream", "dispatch.intake.default", `{"to":"+905552222222","content":"from nats"}`)
	testenv.Eventually(t, func() bool {
		list, err := w.store.List(t.Context(), db.Filter{To: "+905552222222", Statuses: []message.Status{message.Sent}, Limit: 1})
		return err == nil && len(list) == 1
	})

	// What docs/OPERATIONS.md has people do to the streams.
	w.natsCLI("stream", "purge", "--force", "DISPATCH_EVENTS")
	w.awaitStatus(services[2].post(t, hello), message.Sent)
	for _, service := range services {
		service.stop()
	}
	for _, stream := range events.NewTopology("dispatch", 1).Streams() {
		w.natsCLI("stream", "rm", "--force", stream.Name)
	}
	w.provision()
	w.awaitStatus(w.runAll().post(t, hello), message.Sent)
}

func TestOneMsgIdFiveTimesIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	dispatcher, sender, api := w.runDispatcher(), w.runSender(), w.runIngest()
	publish := func() {
		w.natsCLI("pub", "--jetstream", "-H", "Nats-Msg-Id:shop-1", "dispatch.intake.default", hello)
	}
	publish()
	publish()
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) == 1 })

	for _, service := range []*runningService{api, sender, dispatcher} {
		service.stop()
	}
	w.stopNATS()
	w.startNATS()
	w.runDispatcher()
	w.runSender()
	w.runIngest()
	publish()
	w.passDuplicateWindow()
	before := w.lastIntake()
	publish()
	require.Greater(t, w.lastIntake(), before, "the stream itself no longer knows the id")
	publish()

	// A message behind the five is delivered once they are all dealt with.
	w.natsCLI("pub", "--jetstream", "dispatch.intake.default", `{"to":"+905553333333","content":"last"}`)
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) >= 2 })
	list, err := w.store.List(t.Context(), db.Filter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Len(t, w.webhook.received(""), 2)
}

func (w *pipeline) lastIntake() uint64 {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.topology.IntakeStream())
	require.NoError(w.t, err)
	return stream.CachedInfo().State.LastSeq
}

// passDuplicateWindow makes the intake stream forget the ids that it has
// seen: the window is set to its least for a moment, so that no test waits
// for minutes.
func (w *pipeline) passDuplicateWindow() {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.topology.IntakeStream())
	require.NoError(w.t, err)
	config := stream.CachedInfo().Config
	window := config.Duplicates
	config.Duplicates = 100 * time.Millisecond
	_, err = w.js.UpdateStream(w.t.Context(), config)
	require.NoError(w.t, err)
	<-time.After(300 * time.Millisecond)
	config.Duplicates = window
	_, err = w.js.UpdateStream(w.t.Context(), config)
	require.NoError(w.t, err)
}
