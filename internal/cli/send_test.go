package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSend(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	once := i.send(t, "+905551111111", "<hello>", "--key", "a", "--meta", "campaign=spring", "--priority", "9")
	require.Equal(t, once, i.send(t, "+905551111111", "<hello>", "--key", "a", "--meta", "campaign=spring", "--priority", "9"), "the same key sends nothing")
	i.dispatch(t, "send", "+905551111111", "other", "--key", "a").fails(t, 1, "idempotency_key_reused")

	payload := `{"b":  1,` + "\n" + `"a": "<>"}`
	file := filepath.Join(t.TempDir(), "payload")
	require.NoError(t, os.WriteFile(file, []byte(payload), 0o600))
	i.send(t, "+905551111111", "--payload", "@"+file, "--wait")
	require.Contains(t, i.webhook.received(), payload, "byte for byte")

	i.dispatch(t, "send", "nobody").fails(t, 1, "2 mistakes (invalid)", "\n  TO: ", "\n  CONTENT: ")
	i.dispatch(t, "send", "+905551111111", "x", "--expires-at", "never").fails(t, 1, "\n  --expires-at: ")
	i.dispatch(t, "send", "+905551111111", "x", "--meta", "a="+strings.Repeat("x", 1000), "--key", strings.Repeat("k", 300)).fails(t, 1, "\n  --meta a: ", "\n  --key: ")
	i.dispatch(t, "send", "+905551111111", "--payload", strings.Repeat("[", 200)+strings.Repeat("]", 200)).fails(t, 1, "what was given is nested deeper")
	require.Equal(t, "FAILED", field(i.dispatch(t, "send", "+905551111111", "refuse me", "--wait").out, "status"))
}

func TestSendSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "send").fails(t, 2, "TO", "--file")
	dispatch(t, "send", "a", "b", "c").fails(t, 2, "between 0 and 2")
	dispatch(t, "send", "+905551111111", "x", "--priority", "10").fails(t, 2, "from 0 to 9")
	dispatch(t, "send", "+905551111111", "--payload", "{").fails(t, 2, "not JSON")
	dispatch(t, "send", "+905551111111", "--payload", "@nowhere").fails(t, 2, "nowhere")
	dispatch(t, "send", "+905551111111", "x", "--key-prefix", "a").fails(t, 2, "--file")
	dispatch(t, "send", "+905551111111", "--file", "x").fails(t, 2, "--file takes no TO")
	dispatch(t, "send", "--file", "x", "--wait").fails(t, 2, "--wait does not go with --file")
	dispatch(t, "send", "+905551111111", "x", "--url", unused).fails(t, 3, "no answer from "+unused)
	dispatch(t, "send", "+905551111111", "x", "--url", "::").fails(t, 2)
}
