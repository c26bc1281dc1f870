package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const someID = "01932a5c-6a00-7f3e-9b1d-0242ac120002"

func TestGetAndListShowMessagesPlainly(t *testing.T) {
	t.Parallel()
	i := up(t)
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
	i := up(t)
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

	for _, verb := range []string{"cancel", "retry"} {
		dispatch(t, verb).fails(t, 2, "requires at least 1 arg")
		dispatch(t, verb, "seven").fails(t, 2, "UUID")
		dispatch(t, verb, first, "--url", unused).fails(t, 3, "no answer")
		i.dispatch(t, verb, someID).fails(t, 1, "not_found")
	}
	i.dispatch(t, "retry", second, "--expires-at", "yesterday").fails(t, 1, "expiresAt")
}
