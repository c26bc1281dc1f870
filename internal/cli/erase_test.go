package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
)

func TestErase(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	first := i.Send(t, "+905552222222", "later", "--deliver-at", "1h")
	other := i.Send(t, "+905551111111", "later", "--deliver-at", "1h")

	look := i.Dispatch(t, "erase", "+90 555 222 22 22", "--dry-run").OK(t)
	require.Equal(t, "1", clitest.Field(look, "messages"))
	require.Contains(t, look, "nothing was erased")
	i.Dispatch(t, "erase", "+90 555 222 22 22").Fails(t, 1, "Erase 1 messages", "nothing was erased")
	dispatchWith(t, "no\n", "erase", "+905552222222", "--url", i.URL).Fails(t, 1, "nothing was erased")
	i.Dispatch(t, "get", first).OK(t)

	var done erasure
	require.NoError(t, json.Unmarshal([]byte(dispatchWith(t, "yes\n", "erase", "+905552222222", "--json", "--url", i.URL).OK(t)), &done))
	require.EqualValues(t, 1, done.Erased)
	require.EqualValues(t, 1, done.Cancelled)
	require.False(t, done.EventsUntil.IsZero())
	i.Dispatch(t, "get", first).Fails(t, 1, "not_found")
	i.Dispatch(t, "get", other).OK(t)
	require.Equal(t, "0", clitest.Field(i.Dispatch(t, "erase", "+905552222222", "--yes").OK(t), "messages"))

	dispatch(t, "erase").Fails(t, 2, "accepts 1 arg")
	dispatch(t, "erase", "+905552222222", "--yes", "--url", unused).Fails(t, 3, "no answer")
	i.Dispatch(t, "erase", "nobody", "--yes").Fails(t, 1, "RECIPIENT: must be a phone number")
}
