package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const someID = "01932a5c-6a00-7f3e-9b1d-0242ac120002"

func TestGetAndListShowMessagesPlainly(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	sent := i.send(t, "+905551111111", "hello", "--wait", "--type", "code.login")
	i.dispatch(t, "send", "+905551111112", "refuse me", "--wait").fails(t, 1)

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
`, golden(i.dispatch(t, "get", sent).ok(t)))

	require.Equal(t, `ID                                    STATUS  TO             ATTEMPTS  CREATED                  LAST ERROR
<an id, as long as this word is it>.  FAILED  +905551111112  1         <date and time, UTC+n>.  status 400
<an id, as long as this word is it>.  SENT    +905551111111  1         <date and time, UTC+n>.
`, golden(i.dispatch(t, "list").ok(t)))

	first := i.dispatch(t, "list", "--limit", "1")
	require.Contains(t, first.errOut, "more: --cursor ")
	require.NotContains(t, first.ok(t), "cursor", "standard output holds messages alone")

	attempts := aStretch.ReplaceAllString(golden(i.dispatch(t, "get", sent, "--attempts").ok(t)), "<took> ")
	require.Contains(t, attempts, "NUMBER  STARTED")
	require.Contains(t, attempts, "<took> success  200")

	var m message.Message
	require.NoError(t, json.Unmarshal([]byte(i.dispatch(t, "get", sent, "--json").ok(t)), &m))
	require.Equal(t, message.Sent, m.Status)
	var page struct{ Data []message.Message }
	require.NoError(t, json.Unmarshal([]byte(i.dispatch(t, "list", "--status", "failed", "--json").ok(t)), &page))
	require.Len(t, page.Data, 1)

	i.dispatch(t, "get", someID).fails(t, 1, "not_found")
	i.dispatch(t, "list", "--cursor", "x").fails(t, 1, "cursor: must be the nextCursor")
}

func TestGetAndListSayWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "get", "seven").fails(t, 2, `"seven"`, "UUID")
	dispatch(t, "get").fails(t, 2, "accepts 1 arg")
	dispatch(t, "list", "--status", "bogus").fails(t, 2, "PENDING, QUEUED, RETRYING, SENT, FAILED, CANCELLED, EXPIRED")
	dispatch(t, "list", "--limit", "0").fails(t, 2, "from 1 to 100")
	dispatch(t, "list", "--colour").fails(t, 2, "--colour", "list --help")
	dispatch(t, "get", someID, "--url", unused).fails(t, 3, "no answer from "+unused, "dispatch up")
	dispatch(t, "list", "--url", unused).fails(t, 3)
}

func TestCancelAndRetry(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	first := i.send(t, "+905551111111", "later", "--deliver-at", "1h")
	second := i.send(t, "+905551111111", "later", "--deliver-at", "1h")
	sent := i.send(t, "+905551111111", "now", "--wait")

	require.Equal(t, first+"  CANCELLED  +905551111111\n"+second+"  CANCELLED  +905551111111\n",
		i.dispatch(t, "cancel", first, second).ok(t))
	some := i.dispatch(t, "cancel", sent, first)
	some.fails(t, 1, sent+": ", "(wrong_state)", first+": ")
	require.Empty(t, some.out)

	some = i.dispatch(t, "retry", sent, first, "--expires-at", "2h", "--json")
	some.fails(t, 1, sent)
	var results []moved
	require.NoError(t, json.Unmarshal([]byte(some.out), &results))
	require.Len(t, results, 2)
	require.Equal(t, "wrong_state", results[0].Error.Code)
	require.NotNil(t, results[1].Message.ExpiresAt)
	require.Contains(t, i.dispatch(t, "retry", second).ok(t), "PENDING")

	dispatch(t, "cancel").fails(t, 2, "requires at least 1 arg")
	dispatch(t, "retry").fails(t, 2, "ID is missing, or --all, or a filter")
	for _, verb := range []string{"cancel", "retry"} {
		dispatch(t, verb, "seven").fails(t, 2, "UUID")
		dispatch(t, verb, first, "--url", unused).fails(t, 3, "no answer")
		i.dispatch(t, verb, someID).fails(t, 1, "not_found")
	}
	i.dispatch(t, "retry", second, "--expires-at", "yesterday").fails(t, 1, "expiresAt")
}

func TestRetryByAFilter(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	failed := i.dispatch(t, "send", "+905551111111", "refuse me", "--wait")
	require.Equal(t, 1, failed.code)
	cancelled := i.send(t, "+905551111111", "later", "--deliver-at", "1h", "--key", "mine")
	i.dispatch(t, "cancel", cancelled).ok(t)
	i.dispatch(t, "stop").ok(t)

	require.Equal(t, "matched              1\nretried              0\nnothing was retried\n",
		i.dispatch(t, "retry", "--all", "--dry-run").ok(t), "the failed one")
	require.JSONEq(t, `{"matched":0,"retried":0,"dryRun":false}`,
		i.dispatch(t, "retry", "--status", "failed,cancelled", "--created-before", "1h", "--json").ok(t))
	require.JSONEq(t, `{"matched":2,"retried":2,"dryRun":false}`,
		i.dispatch(t, "retry", "--status", "failed,cancelled", "--created-after", "1h", "--destination", "default", "--json").ok(t))
	require.Equal(t, "PENDING", field(i.dispatch(t, "get", cancelled).ok(t), "status"))

	dispatch(t, "retry", "--status", "sent").fails(t, 2, "FAILED, CANCELLED, EXPIRED")
	dispatch(t, "retry", cancelled, "--all").fails(t, 2, "--all goes without ids")
	dispatch(t, "retry", "--all", "--expires-at", "1h").fails(t, 2, "--expires-at goes with ids alone")
	i.dispatch(t, "retry", "--created-after", "yesterday").fails(t, 1, "--created-after")
	dispatch(t, "retry", "--all", "--url", unused).fails(t, 3, "no answer")

	// Every filter of a list.
	for filter, want := range map[string]int{
		"--key mine": 1, "--key other": 0, "--external-id ext-1": 0, "--created-after 1h": 2, "--created-before 1h": 0,
		"--to +905551111111": 2, "--status pending": 2, "--destination default": 2, "--type a.b": 0,
	} {
		found := i.dispatch(t, append([]string{"list"}, strings.Fields(filter)...)...).ok(t)
		require.Equal(t, want, strings.Count(found, "+905551111111"), filter)
	}
}
