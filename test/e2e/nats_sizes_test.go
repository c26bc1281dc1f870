package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestAnAccountOf5GBThatDemandsSizesIsEnough, as managed NATS has them. Three
// copies of a stream count three times there.
func TestAnAccountOf5GBThatDemandsSizesIsEnough(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			t.Parallel()
			cluster := testenv.StartNATS(t, servers, func(n testenv.NATSNode) string {
				return n.Config() + `accounts {
					A: { jetstream: { max_store: 5GB, max_bytes_required: true }, users: [ { user: a, password: a } ] }
					SYS: { users: [ { user: s, password: s } ] }
				}
				system_account: SYS`
			})
			top := events.NewTopology("dispatch", servers)
			js, err := jetstream.Connect(jetstream.Access{URL: strings.Replace(cluster[0].URL, "nats://", "nats://a:a@", 1)}, top, "test")
			require.NoError(t, err)
			t.Cleanup(js.Conn().Close)
			testenv.Eventually(t, func() bool { // a cluster has to find its leader first
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err = streams.Provision(ctx, js, []string{message.DefaultDestination})
				var refused *natsjs.APIError
				require.False(t, errors.As(err, &refused) && slices.Contains([]natsjs.ErrorCode{10047, 10113}, refused.ErrorCode), "%v", err)
				return err == nil
			})
			require.NoError(t, streams.Provision(t.Context(), js, []string{message.DefaultDestination}), "and once more")
		})
	}
}

// TestProvisionChangesTheSizesOfStreams up and down, but never below what a
// stream holds; then all else is done all the same.
func TestProvisionChangesTheSizesOfStreams(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t)
	size := func(stream string) string {
		s, err := w.js.Stream(t.Context(), stream)
		require.NoError(t, err)
		return settings.Size(s.CachedInfo().Config.MaxBytes).String()
	}
	provision := func(given ...string) error {
		for i := 0; i < len(given); i += 2 {
			w.env[given[i]] = given[i+1]
		}
		cfg, err := settings.Parse[provision.Config](w.env)
		require.NoError(t, err)
		return provision.Run(t.Context(), cfg, w.log())
	}
	require.NoError(t, provision("INTAKE_MAX_BYTES", "32MiB", "EVENTS_MAX_BYTES", "8GiB", "REJECTED_MAX_BYTES", "100MB"))
	require.Equal(t, "32MiB", size(w.topology.IntakeStream()))
	require.Equal(t, "8GiB", size(w.topology.EventsStream()))
	require.Equal(t, "100000000", size(w.topology.RejectedStream()))
	noise := make([]byte, 1000<<10)
	_, _ = rand.Read(noise)
	for n := range 20 {
		w.publish(events.NewEventBuilder(w.topology, false).Rejection(events.Rejection{
			Subject: w.topology.IntakeSubject("default"), Sequence: uint64(n + 1), Stored: time.Now(), Code: "malformed", Data: noise,
			Problem: json.RawMessage(`{"type":"urn:message-dispatcher:problem:malformed","title":"Bad Request","status":400,"code":"malformed"}`),
		}, 1<<20)...)
	}

	err := provision("INTAKE_MAX_BYTES", "64MiB", "EVENTS_MAX_BYTES", "16MiB", "REJECTED_MAX_BYTES", "16MiB")

	require.ErrorIs(t, err, jetstream.ErrHoldsMore)
	require.ErrorContains(t, err, "DISPATCH_REJECTED is to hold at most 16 MiB and has 19 MiB")
	require.Equal(t, "64MiB", size(w.topology.IntakeStream()))
	require.Equal(t, "16MiB", size(w.topology.EventsStream()), "the others are as they should be")
	require.Equal(t, "100000000", size(w.topology.RejectedStream()))
	stream, err := w.js.Stream(t.Context(), w.topology.RejectedStream())
	require.NoError(t, err)
	require.EqualValues(t, 20, stream.CachedInfo().State.Msgs, "nothing is lost")
	require.NoError(t, provision("REJECTED_MAX_BYTES", "24MiB"))
	require.Equal(t, "24MiB", size(w.topology.RejectedStream()))
	require.NoError(t, stream.Purge(t.Context()))
	require.NoError(t, provision("REJECTED_MAX_BYTES", "16MiB"))
}

func TestASizeThatCantBeIsNamed(t *testing.T) {
	t.Parallel()
	_, err := settings.Parse[provision.Config](settings.Environment{
		"DATABASE_URL": "postgres://x@y/z", "INTAKE_MAX_BYTES": "1MiB", "DELIVERIES_MAX_BYTES": "32MiB", "EVENTS_MAX_BYTES": "much",
	})
	require.ErrorContains(t, err, `INTAKE_MAX_BYTES="1MiB": must be from 16MiB to 1024TiB`)
	require.ErrorContains(t, err, `DELIVERIES_MAX_BYTES="32MiB": must be from 64MiB to 1024TiB`)
	require.ErrorContains(t, err, `EVENTS_MAX_BYTES="much": must be a size like 512MiB, 5GB or 1048576`)
}

// TestNothingIsEmittedOntoAQueueThatIsFullOfRetries: the server would drop the
// oldest of them once it is full.
func TestNothingIsEmittedOntoAQueueThatIsFullOfRetries(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	stream, err := w.js.Stream(t.Context(), w.topology.DeliveriesStream())
	require.NoError(t, err)
	config := stream.CachedInfo().Config
	config.MaxBytes = 32 << 10
	_, err = w.js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	builder := events.NewEventBuilder(w.topology, false)
	later := time.Now().Add(time.Hour)
	for w.deliveries().State.Bytes < 16<<10 {
		w.publish(builder.ScheduledRetry(draft(func(m *message.Message) { m.NextAttemptAt, m.ClaimNumber = &later, 2 })))
	}
	parked := w.deliveries().State.Msgs
	waiting := w.insert(draft())[0]
	addr := freeAddr(t)
	w.runDispatcher("HEALTH_ADDR", addr)
	ingest := w.runIngest()

	queue := func() (state string) {
		response, err := http.Get("http://" + addr + "/health/ready")
		if err != nil {
			return ""
		}
		defer response.Body.Close()
		var report service.Report
		if json.NewDecoder(response.Body).Decode(&report) != nil {
			return ""
		}
		return string(report.Checks["queue"].State)
	}
	testenv.Eventually(t, func() bool { return queue() == "degraded" })
	arrived := ingest.post(t, `{"to":"+905551111111","content":"arrived"}`)
	require.Equal(t, parked, w.deliveries().State.Msgs, "something was emitted")
	require.Equal(t, message.Pending, ingest.get(t, waiting).Status)
	require.Equal(t, message.Pending, ingest.get(t, arrived).Status)

	require.NoError(t, stream.Purge(t.Context()))
	w.awaitStatus(waiting, message.Queued)
	w.awaitStatus(arrived, message.Queued)
	testenv.Eventually(t, func() bool { return queue() == "ok" })
}
