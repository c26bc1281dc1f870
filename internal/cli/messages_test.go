package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const someID = "01932a5c-6a00-7f3e-9b1d-0242ac120002"

func TestGetAndListShowMessagesPlainly(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	sent := i.Send(t, "+905551111111", "hello", "--wait", "--type", "code.login")
	i.Dispatch(t, "send", "+905551111112", "refuse me", "--wait").Fails(t, 1)

	require.Equal(t, `id           <an id, as long as this word is it>.
status       SENT
to           +905551111111
content      hello
destination  default
type         code.login
priority     5
attempts     1
created      <date and time, UTC+n>.
queued       <date and time, UTC+n>.
sent         <date and time, UTC+n>.
external id  ext-1
`, golden(i.Dispatch(t, "get", sent).OK(t)))

	require.Equal(t, `ID                                    STATUS  TO             ATTEMPTS  CREATED                  LAST ERROR
<an id, as long as this word is it>.  FAILED  +905551111112  1         <date and time, UTC+n>.  status 400
<an id, as long as this word is it>.  SENT    +905551111111  1         <date and time, UTC+n>.
`, golden(i.Dispatch(t, "list").OK(t)))

	first := i.Dispatch(t, "list", "--limit", "1")
	require.Contains(t, first.ErrOut, "more: --cursor ")
	require.NotContains(t, first.OK(t), "cursor", "standard output holds messages alone")

	attempts := aWhile.ReplaceAllString(golden(i.Dispatch(t, "get", sent, "--attempts").OK(t)), "<took> ")
	require.Contains(t, attempts, "NUMBER  STARTED")
	require.Contains(t, attempts, "<took> success  200")

	var m message.Message
	require.NoError(t, json.Unmarshal([]byte(i.Dispatch(t, "get", sent, "--json").OK(t)), &m))
	require.Equal(t, message.Sent, m.Status)
	var page struct{ Data []message.Message }
	require.NoError(t, json.Unmarshal([]byte(i.Dispatch(t, "list", "--status", "failed", "--json").OK(t)), &page))
	require.Len(t, page.Data, 1)

	i.Dispatch(t, "get", someID).Fails(t, 1, "not_found")
	i.Dispatch(t, "list", "--cursor", "x").Fails(t, 1, "cursor: must be the nextCursor")
}

func TestGetAndListSayWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "get", "seven").Fails(t, 2, `"seven"`, "UUID")
	dispatch(t, "get").Fails(t, 2, "accepts 1 arg")
	dispatch(t, "list", "--status", "bogus").Fails(t, 2, "PENDING, QUEUED, RETRYING, SENT, FAILED, CANCELLED, EXPIRED")
	dispatch(t, "list", "--limit", "0").Fails(t, 2, "from 1 to 100")
	dispatch(t, "list", "--colour").Fails(t, 2, "--colour", "list --help")
	dispatch(t, "get", someID, "--url", unused).Fails(t, 3, "no answer from "+unused, "dispatch up")
	dispatch(t, "list", "--url", unused).Fails(t, 3)
}

func TestCancelAndRetry(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	first := i.Send(t, "+905551111111", "later", "--deliver-at", "1h")
	second := i.Send(t, "+905551111111", "later", "--deliver-at", "1h")
	sent := i.Send(t, "+905551111111", "now", "--wait")

	require.Equal(t, first+"  CANCELLED  +905551111111\n"+second+"  CANCELLED  +905551111111\n",
		i.Dispatch(t, "cancel", first, second).OK(t))
	some := i.Dispatch(t, "cancel", sent, first)
	some.Fails(t, 1, sent+": ", "(wrong_state)", first+": ")
	require.Empty(t, some.Out)

	some = i.Dispatch(t, "retry", sent, first, "--expires-at", "2h", "--json")
	some.Fails(t, 1, sent)
	var results []result
	require.NoError(t, json.Unmarshal([]byte(some.Out), &results))
	require.Len(t, results, 2)
	require.Equal(t, "wrong_state", results[0].Error.Code)
	require.NotNil(t, results[1].Message.ExpiresAt)
	require.Contains(t, i.Dispatch(t, "retry", second).OK(t), "PENDING")

	dispatch(t, "cancel").Fails(t, 2, "requires at least 1 arg")
	dispatch(t, "retry").Fails(t, 2, "ID is missing, or --all, or a filter")
	for _, verb := range []string{"cancel", "retry"} {
		dispatch(t, verb, "seven").Fails(t, 2, "UUID")
		dispatch(t, verb, first, "--url", unused).Fails(t, 3, "no answer")
		i.Dispatch(t, verb, someID).Fails(t, 1, "not_found")
	}
	i.Dispatch(t, "retry", second, "--expires-at", "yesterday").Fails(t, 1, "expiresAt")
}

func TestRetryByAFilter(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	failed := i.Dispatch(t, "send", "+905551111111", "refuse me", "--wait")
	require.Equal(t, 1, failed.Code)
	cancelled := i.Send(t, "+905551111111", "later", "--deliver-at", "1h", "--key", "mine")
	i.Dispatch(t, "cancel", cancelled).OK(t)
	i.Dispatch(t, "stop").OK(t)

	require.Equal(t, "matched              1\nretried              0\nnothing was retried\n",
		i.Dispatch(t, "retry", "--all", "--dry-run").OK(t), "the failed one")
	require.JSONEq(t, `{"matched":0,"retried":0,"dryRun":false}`,
		i.Dispatch(t, "retry", "--status", "failed,cancelled", "--created-before", "1h", "--json").OK(t))
	require.JSONEq(t, `{"matched":2,"retried":2,"dryRun":false}`,
		i.Dispatch(t, "retry", "--status", "failed,cancelled", "--created-after", "1h", "--destination", "default", "--json").OK(t))
	require.Equal(t, "PENDING", clitest.Field(i.Dispatch(t, "get", cancelled).OK(t), "status"))

	dispatch(t, "retry", "--status", "sent").Fails(t, 2, "FAILED, CANCELLED, EXPIRED")
	dispatch(t, "retry", cancelled, "--all").Fails(t, 2, "--all goes without ids")
	dispatch(t, "retry", "--all", "--expires-at", "1h").Fails(t, 2, "--expires-at goes with ids alone")
	i.Dispatch(t, "retry", "--created-after", "yesterday").Fails(t, 1, "--created-after")
	dispatch(t, "retry", "--all", "--url", unused).Fails(t, 3, "no answer")

	// Every filter of a list.
	for filter, want := range map[string]int{
		"--key mine": 1, "--key other": 0, "--external-id ext-1": 0, "--created-after 1h": 2, "--created-before 1h": 0,
		"--to +905551111111": 2, "--status pending": 2, "--destination default": 2, "--type a.b": 0,
	} {
		found := i.Dispatch(t, append([]string{"list"}, strings.Fields(filter)...)...).OK(t)
		require.Equal(t, want, strings.Count(found, "+905551111111"), filter)
	}
}
