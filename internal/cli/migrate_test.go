package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
)

func TestMigrate(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	require.Contains(t, dispatch(t, "migrate", "status").OK(t), "no schema")
	require.Equal(t, "up to date", clitest.Field(dispatch(t, "migrate", "up").OK(t), "state"))
	dispatch(t, "migrate", "down").Fails(t, 2, "--yes")
	require.Equal(t, "up to date", clitest.Field(dispatch(t, "migrate", "status").OK(t), "state"), "nothing was taken back")
	var state schemaState
	require.NoError(t, json.Unmarshal([]byte(dispatch(t, "migrate", "down", "--yes", "--json").OK(t)), &state))
	require.Equal(t, state.Wanted-1, state.Version)
}

func TestMigrateSaysWhatIsAllowed(t *testing.T) {
	dispatch(t, "migrate").Fails(t, 2, "down, status, up")
	dispatch(t, "migrate", "sideways").Fails(t, 2, "no sideways", "down, status, up")
	t.Setenv("DATABASE_URL", "")
	for _, verb := range []string{"up", "down", "status"} {
		dispatch(t, "migrate", verb).Fails(t, 2, "DATABASE_URL")
		dispatch(t, "migrate", verb, "now").Fails(t, 2, "--help")
	}
	t.Setenv("DATABASE_URL", "postgres://x:secret@127.0.0.1:1/x")
	for _, verb := range []string{"up", "down", "status"} {
		done := dispatch(t, "migrate", verb)
		done.Fails(t, 3, "no answer from Postgres")
		require.NotContains(t, done.ErrOut, "secret")
	}
	t.Setenv("DATABASE_URL", strings.Replace(dbtest.URL(t), "dispatch:", "nobody:", 1))
	dispatch(t, "migrate", "status").Fails(t, 1, "Postgres refuses the connection")
}
