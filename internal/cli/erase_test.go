package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErase(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	first := i.send(t, "+905552222222", "later", "--deliver-at", "1h")
	other := i.send(t, "+905551111111", "later", "--deliver-at", "1h")

	look := i.dispatch(t, "erase", "+90 555 222 22 22", "--dry-run").ok(t)
	require.Equal(t, "1", field(look, "messages"))
	require.Contains(t, look, "nothing was erased")
	i.dispatch(t, "erase", "+90 555 222 22 22").fails(t, 1, "Erase 1 messages", "nothing was erased")
	dispatchWith(t, "no\n", "erase", "+905552222222", "--url", i.url).fails(t, 1, "nothing was erased")
	i.dispatch(t, "get", first).ok(t)

	var done erasure
	require.NoError(t, json.Unmarshal([]byte(dispatchWith(t, "yes\n", "erase", "+905552222222", "--json", "--url", i.url).ok(t)), &done))
	require.EqualValues(t, 1, done.Erased)
	require.EqualValues(t, 1, done.Cancelled)
	require.False(t, done.EventsUntil.IsZero())
	i.dispatch(t, "get", first).fails(t, 1, "not_found")
	i.dispatch(t, "get", other).ok(t)
	require.Equal(t, "0", field(i.dispatch(t, "erase", "+905552222222", "--yes").ok(t), "messages"))

	dispatch(t, "erase").fails(t, 2, "accepts 1 arg")
	dispatch(t, "erase", "+905552222222", "--yes", "--url", unused).fails(t, 3, "no answer")
	i.dispatch(t, "erase", "nobody", "--yes").fails(t, 1, "RECIPIENT: must be a phone number")
}
