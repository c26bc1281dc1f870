package output

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestATableLinesUpWhateverIsInIt(t *testing.T) {
	t.Parallel()
	var list Table
	list.Head("A", "B")
	list.Row(message.Sent, "ä\x1b[2J\n")
	list.Row("世界", "wide")
	list.Row(1, "")
	var text strings.Builder
	require.NoError(t, list.write(&text))
	require.Equal(t, "A     B\nSENT  ä·[2J·\n世界  wide\n1\n", text.String(), "no colour, no control characters, no trailing space")
	require.Equal(t, "\x1b[32mSENT\x1b[0m", Styled("SENT", statusStyles[message.Sent]).Paint(true))
	require.Equal(t, "A", strings.TrimSpace(list.render(0, false)[:2]))
}

func TestANarrowTerminalWrapsTheLastColumn(t *testing.T) {
	t.Parallel()
	var list Table
	list.Head("ID", "LAST ERROR")
	list.Row("one", "the webhook answered with status 503")
	list.Row("two", "")
	require.Equal(t, "ID   LAST ERROR\none  the webhook answered\n     with status 503\ntwo\n", list.render(27, false))

	var wide Table
	wide.Head("ID", "STATUS", "TO")
	wide.Row("01932a5c", message.Sent, "+905551111111")
	wide.Row("01932a5d", message.Queued, "")
	require.Equal(t, "id      01932a5c\nstatus  SENT\nto      +905551111111\n\nid      01932a5d\nstatus  QUEUED\n", wide.render(25, false))

	var fields Table
	fields.Row("content", "Your code is 4711, and it is valid for ten minutes")
	require.Equal(t, "content  Your code is 4711,\n         and it is valid for\n         ten minutes\n", fields.render(29, false))
	require.Empty(t, (&Table{}).render(80, false))
}

func TestOnlyTerminalsGetColours(t *testing.T) {
	t.Parallel()
	file, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer file.Close()
	require.False(t, Coloured(file))
	require.False(t, Coloured(&strings.Builder{}))
	require.Zero(t, Width(file))
	require.Nil(t, NewBar(file, 1))
	NewBar(file, 1).Set("nothing happens", 1)
}
