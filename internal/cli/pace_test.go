package cli

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestThePace(t *testing.T) {
	t.Parallel()
	i := startUp(t, "PROCESSING_INTERVAL", "24h", "BATCH_SIZE", "2")
	require.Eventually(t, func() bool {
		var o message.Overview
		require.NoError(t, json.Unmarshal([]byte(i.Dispatch(t, "status", "--json").OK(t)), &o))
		return len(o.Instances) == 3 && o.LastTickAt != nil && o.NextTickAt != nil
	}, patience, 20*time.Millisecond)
	i.Send(t, "+905551111111", "hello")

	status := golden(i.Dispatch(t, "status").OK(t))
	status = regexp.MustCompile(`at \d\d:\d\d:\d\d, in \S+`).ReplaceAllString(status, "<then>")
	require.Equal(t, `state           RUNNING
pace            2 messages every 24h0m0s; next tick <then>
last tick       <date and time, UTC+n>., 0 emitted
oldest pending  <date and time, UTC+n>.
PENDING         1
QUEUED          0
RETRYING        0
SENT            0
FAILED          0
CANCELLED       0
EXPIRED         0
dispatcher      <instance> since <date and time, UTC+n>.
ingest          <instance> since <date and time, UTC+n>.
sender          <instance> since <date and time, UTC+n>.
`, status)

	require.Equal(t, "STOPPED", clitest.Field(i.Dispatch(t, "stop").OK(t), "state"))
	require.Equal(t, "STOPPED (no change)", clitest.Field(i.Dispatch(t, "stop").OK(t), "state"))
	require.Equal(t, "RUNNING", clitest.Field(i.Dispatch(t, "start").OK(t), "state"))

	var o message.Overview
	changed := i.Dispatch(t, "configure", "--interval", "30s", "--batch-size", "10", "--json")
	require.NoError(t, json.Unmarshal([]byte(changed.OK(t)), &o))
	require.Equal(t, message.Duration(30*time.Second), o.Interval)
	require.Equal(t, 10, o.BatchSize)
	require.Contains(t, i.Dispatch(t, "configure", "--batch-size", "1").OK(t), "1 message every 30s", "what is not given stays")
	require.Contains(t, i.Dispatch(t, "configure", "--interval", "0").OK(t), "as fast as possible")
}

func TestThePaceSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "configure").Fails(t, 2, "--interval or --batch-size")
	dispatch(t, "configure", "--interval", "1us").Fails(t, 2, "0 or from 1ms to 720h0m0s")
	dispatch(t, "configure", "--interval", "soon").Fails(t, 2, "--interval")
	dispatch(t, "configure", "--batch-size", "0").Fails(t, 2, "from 1 to 10000")
	dispatch(t, "configure", "--batch-size", "1", "--url", unused).Fails(t, 3, "no answer")
	for _, verb := range []string{"status", "start", "stop"} {
		dispatch(t, verb, "now").Fails(t, 2, verb+" --help")
		dispatch(t, verb, "--url", unused).Fails(t, 3, "no answer")
	}
}
