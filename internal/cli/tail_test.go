package cli

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestTail(t *testing.T) {
	i := startUp(t)
	t.Setenv("NATS_URL", i.NATS)
	sent := i.Send(t, "+905551111111", "hello", "--wait")
	failed := clitest.Field(i.Dispatch(t, "send", "+905551111112", "refuse me", "--wait").Out, "id")

	whole := dispatch(t, "tail", "--since", "1h", "--count", "3", "--id", strings.ToUpper(sent)).OK(t)
	whole = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`).ReplaceAllString(strings.ReplaceAll(whole, sent, "<id>"), "<time>")
	whole = regexp.MustCompile(`in \S+s`).ReplaceAllString(whole, "in <so long>")
	require.Equal(t, `<time>  created    <id>  default  +905551111111
<time>  queued     <id>  default  +905551111111
<time>  sent       <id>  default  +905551111111  attempt 1 in <so long>  ext-1
`, whole)

	line := dispatch(t, "tail", "--since", "1h", "--count", "1", "--type", "failed,expired", "--destination", "default", "--json").OK(t)
	var e events.Event
	require.NoError(t, json.Unmarshal([]byte(line), &e))
	require.Equal(t, failed, e.Subject)
	require.Equal(t, message.Failed, e.Data.Status)
	require.Equal(t, 1, strings.Count(line, "\n"), "a line an event")
}

// TestTailShowsWhatHappensNow begins before the event and is ended like by
// Ctrl-C.
func TestTailShowsWhatHappensNow(t *testing.T) {
	i := startUp(t)
	t.Setenv("NATS_URL", i.NATS)
	tail := background(t, "tail", "--type", "created")
	require.Eventually(t, func() bool {
		i.Send(t, "+905551111111", "hello") // the first may come before the tail listens
		return strings.Contains(tail.Out.String(), "created")
	}, patience, pause)
	require.Equal(t, 0, tail.Interrupt(), "%s", &tail.ErrOut)
}

func TestTailSaysWhatIsAllowed(t *testing.T) {
	i := startUp(t)
	t.Setenv("NATS_URL", i.NATS)
	dispatch(t, "tail", "--type", "gone").Fails(t, 2, "created, queued, attempted, sent, failed, cancelled, expired, rejected")
	dispatch(t, "tail", "--id", "seven").Fails(t, 2, "UUID")
	dispatch(t, "tail", "--destination", "*").Fails(t, 2, "--destination")
	dispatch(t, "tail", "--since", "-1h").Fails(t, 2, "--since")
	t.Setenv("PREFIX", "elsewhere")
	dispatch(t, "tail").Fails(t, 1, "ELSEWHERE_EVENTS", "dispatch provision")
	t.Setenv("PREFIX", "No Prefix")
	dispatch(t, "tail").Fails(t, 2, "PREFIX")
	t.Setenv("PREFIX", "dispatch")
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	dispatch(t, "tail").Fails(t, 3, "no answer from NATS", "NATS_URL")
}
