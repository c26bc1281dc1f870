package cli

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// A file of another program stands in the way of no client.
func TestClientsReadTheirSettingsFromDotEnvIfTheyCan(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(".env", []byte("DISPATCH_URL="+unused+"\n"), 0o600))
	dispatch(t, "status").Fails(t, 3, "no answer from "+unused)
	require.NoError(t, os.WriteFile(".env", []byte("other: yaml\n"), 0o600))
	dispatch(t, "status", "--url", unused).Fails(t, 3, "dispatch: .env: line 1 is not of the form NAME=value; the file is ignored", "no answer from "+unused)

	t.Setenv("DISPATCH_API_KEY", `"key"`)
	dispatch(t, "status", "--url", unused).Fails(t, 2, "DISPATCH_API_KEY must be a key as API_KEYS has it")
}

func TestUpSaysWhatItIgnores(t *testing.T) {
	t.Parallel()
	env := clitest.Settings("DB_USER", "u", "DB_PASSWORD", "geheim", "REDIS_PASSWORD", "geheim", "REDIS_SENTINEL", "main", "NATS_CREDS", "/nowhere", "HEALTH_ADDR", ":1")
	cfg, err := up.Parse(env, "")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"DB_USER is ignored, because neither DB_HOST nor DATABASE_URL is set: up starts its own PostgreSQL",
		"DB_PASSWORD is ignored, because neither DB_HOST nor DATABASE_URL is set: up starts its own PostgreSQL",
		"REDIS_PASSWORD is ignored, because neither REDIS_HOST nor REDIS_URL is set",
		"REDIS_SENTINEL is ignored, because neither REDIS_HOST nor REDIS_URL is set",
		"NATS_CREDS is ignored, because NATS_URL is not set: up starts its own NATS server",
		"HEALTH_ADDR is ignored by up: /health and /metrics of all services are on HTTP_ADDR",
	}, settings.Warnings(env, &cfg))
}
