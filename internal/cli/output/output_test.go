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
	list.Row(1, "")
	var text strings.Builder
	require.NoError(t, list.write(&text))
	require.Equal(t, "A     B\nSENT  ä·[2J·\n1\n", text.String(), "no colour, no control characters, no trailing space")
	require.Equal(t, "\x1b[32mSENT\x1b[0m", Cell{"SENT", statusStyle[message.Sent]}.Paint(true))
}

func TestOnlyTerminalsGetColours(t *testing.T) {
	t.Parallel()
	file, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer file.Close()
	require.False(t, Coloured(file))
	require.False(t, Coloured(&strings.Builder{}))
}
