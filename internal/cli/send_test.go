package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
)

func TestSend(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	once := i.Send(t, "+905551111111", "<hello>", "--key", "a", "--meta", "campaign=spring", "--priority", "9")
	require.Equal(t, once, i.Send(t, "+905551111111", "<hello>", "--key", "a", "--meta", "campaign=spring", "--priority", "9"), "the same key sends nothing")
	i.Dispatch(t, "send", "+905551111111", "other", "--key", "a").Fails(t, 1, "idempotency_key_reused")

	payload := `{"b":  1,` + "\n" + `"a": "<>"}`
	file := filepath.Join(t.TempDir(), "payload")
	require.NoError(t, os.WriteFile(file, []byte(payload), 0o600))
	i.Send(t, "+905551111111", "--payload", "@"+file, "--wait")
	require.Contains(t, i.Webhook.Received(), payload, "byte for byte")

	i.Dispatch(t, "send", "nobody").Fails(t, 1, "2 errors (invalid)", "\n  TO: ", "\n  CONTENT: ")
	i.Dispatch(t, "send", "+905551111111", "x", "--expires-at", "never").Fails(t, 1, "\n  --expires-at: ")
	i.Dispatch(t, "send", "+905551111111", "x", "--meta", "a="+strings.Repeat("x", 1000), "--key", strings.Repeat("k", 300)).Fails(t, 1, "\n  --meta a: ", "\n  --key: ")
	i.Dispatch(t, "send", "+905551111111", "--payload", strings.Repeat("[", 200)+strings.Repeat("]", 200)).Fails(t, 1, "what was given is nested deeper")
	require.Equal(t, "FAILED", clitest.Field(i.Dispatch(t, "send", "+905551111111", "refuse me", "--wait").Out, "status"))
}

func TestSendSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "send").Fails(t, 2, "TO", "--file")
	dispatch(t, "send", "a", "b", "c").Fails(t, 2, "between 0 and 2")
	dispatch(t, "send", "+905551111111", "x", "--priority", "10").Fails(t, 2, "from 0 to 9")
	dispatch(t, "send", "+905551111111", "--payload", "{").Fails(t, 2, "not JSON")
	dispatch(t, "send", "+905551111111", "--payload", "@nowhere").Fails(t, 2, "nowhere")
	dispatch(t, "send", "+905551111111", "x", "--key-prefix", "a").Fails(t, 2, "--file")
	dispatch(t, "send", "+905551111111", "--file", "x").Fails(t, 2, "--file takes no TO")
	dispatch(t, "send", "--file", "x", "--wait").Fails(t, 2, "--wait does not go with --file")
	dispatch(t, "send", "+905551111111", "x", "--url", unused).Fails(t, 3, "no answer from "+unused)
	dispatch(t, "send", "+905551111111", "x", "--url", "::").Fails(t, 2)
}
