package legacyimport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli"
	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/legacyimport"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// originalTable is shaped as the original's is.
const originalTable = `CREATE TABLE messages (
	id uuid PRIMARY KEY, phone_number varchar(20) NOT NULL, content text NOT NULL,
	status varchar(20) NOT NULL DEFAULT 'PENDING', external_id varchar(255), retry_count integer NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz)`

// original makes a database with what statements put into it.
func original(t *testing.T, statements ...string) string {
	t.Helper()
	address := dbtest.EmptyURL(t)
	conn, err := pgx.Connect(t.Context(), withoutPool(t, address))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	for _, statement := range statements {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return address
}

// withoutPool is an address without the parameters of a pool.
func withoutPool(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	query := parsed.Query()
	query.Del("pool_max_conns")
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

// importInto runs an import into a database, and returns what it did.
func importInto(t *testing.T, database, from string, args ...string) (clitest.Ended, legacyimport.Sums) {
	t.Helper()
	t.Setenv("DATABASE_URL", database)
	done := dispatch(t, append([]string{"import", "--from", from, "--json"}, args...)...)
	lines := strings.Split(strings.TrimSpace(done.Out), "\n")
	var sums legacyimport.Sums
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &sums), "%s%s", done.Out, done.ErrOut)
	return done, sums
}

func counts(pending, sent, failed int64) map[message.Status]int64 {
	return map[message.Status]int64{message.Pending: pending, message.Sent: sent, message.Failed: failed}
}

func TestImportWhileThePipelineWorks(t *testing.T) {
	i := startUp(t)
	from := original(t, originalTable,
		`INSERT INTO messages (id, phone_number, content, status, external_id, retry_count, created_at, updated_at, sent_at)
		SELECT gen_random_uuid(), '+9055511' || lpad(n::text, 5, '0'), 'history ' || n, CASE WHEN n % 2 = 0 THEN 'SENT' ELSE 'FAILED' END,
			CASE WHEN n % 2 = 0 THEN 'wa-' || n END, n % 4, '2024-01-15 10:30:00Z'::timestamptz + n * interval '1 minute',
			'2024-01-20 10:30:00Z', CASE WHEN n % 2 = 0 THEN '2024-01-16 00:00:00.25Z'::timestamptz END
		FROM generate_series(1, 2500) AS n`,
		// The original takes a number with and without its +.
		`INSERT INTO messages (id, phone_number, content) VALUES
			('7d0c6c6e-0000-4000-8000-000000000001', '+905551234567', 'waits'),
			('7d0c6c6e-0000-4000-8000-000000000002', '905551234568', 'waits too')`)

	done, sums := importInto(t, i.Database, from)
	done.OK(t)
	require.Equal(t, counts(2, 1250, 1250), sums.Imported)
	require.EqualValues(t, 2502, sums.Read)
	require.Equal(t, "phone_number", sums.Columns["to"])

	require.Eventually(t, func() bool { return len(i.Webhook.Received()) >= 2 }, patience, 10*time.Millisecond, "what waited goes out, with nobody to wake the dispatcher but its event")
	require.Eventually(t, func() bool { return clitest.Field(i.Dispatch(t, "status").OK(t), "SENT") == "1252" }, patience, 10*time.Millisecond)
	require.Equal(t, "1250", clitest.Field(i.Dispatch(t, "status").OK(t), "FAILED"), "the counts are exact")

	for range 2 { // the state here is another by now, and stays
		done, sums = importInto(t, i.Database, from)
		done.OK(t)
		require.Equal(t, counts(0, 0, 0), sums.Imported)
		require.EqualValues(t, 2502, sums.Repeated)
	}
	require.ElementsMatch(t, []string{
		`{"to":"+905551234567","content":"waits"}`, `{"to":"+905551234568","content":"waits too"}`,
	}, i.Webhook.Received(), "history is not sent, and nothing twice")

	response, err := http.Get(i.URL + "/api/v1/messages?idempotencyKey=7d0c6c6e-0000-4000-8000-000000000001")
	require.NoError(t, err)
	defer response.Body.Close()
	var page struct{ Data []message.Message }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&page))
	require.Len(t, page.Data, 1, "a message is found by its old id")
	require.Equal(t, map[string]string{"importedFrom": "public.messages", "importedId": "7d0c6c6e-0000-4000-8000-000000000001"}, page.Data[0].Metadata)
}

// stored lists everything in a database, newest first.
func stored(t *testing.T, database string) []message.Message {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), database, dbpool.Options{Name: "test"})
	require.NoError(t, err)
	defer pool.Close()
	list, err := db.NewStore(pool).List(t.Context(), db.Filter{Limit: 100})
	require.NoError(t, err)
	return list
}

func TestImportKeepsWhatTheOriginalKnew(t *testing.T) {
	from := original(t, originalTable, `INSERT INTO messages VALUES
		('00000000-0000-4000-8000-000000000001', '+905551234567', 'a', 'SENT', 'wa-1', 2, '2024-01-01 00:00:00.123456Z', '2024-01-02Z', '2024-01-03 04:05:06.789Z'),
		('00000000-0000-4000-8000-000000000002', '+905551234567', 'b', 'FAILED', NULL, 3, '2024-01-02Z', '2024-01-04Z', NULL),
		('00000000-0000-4000-8000-000000000003', '+905551234567', 'c', 'PENDING', NULL, 1, '2024-01-03Z', '2024-01-05Z', NULL)`)
	database := dbtest.URL(t)
	importInto(t, database, from)

	list := stored(t, database)
	require.Len(t, list, 3)
	waiting, failed, sent := list[0], list[1], list[2]
	require.Equal(t, message.Sent, sent.Status)
	require.Equal(t, "wa-1", sent.ExternalID)
	require.Equal(t, time.Date(2024, 1, 3, 4, 5, 6, 789e6, time.UTC), *sent.SentAt)
	require.WithinDuration(t, time.Date(2024, 1, 1, 0, 0, 0, 123456e3, time.UTC), sent.CreatedAt, time.Microsecond)
	require.Equal(t, sent.CreatedAt, sent.ID.Time().Truncate(time.Microsecond), "a range of times is one of ids")
	require.Equal(t, 2, sent.Attempts)
	require.Equal(t, message.Failed, failed.Status)
	require.Nil(t, failed.SentAt)
	require.NotEmpty(t, failed.LastError)
	require.Equal(t, time.Date(2024, 1, 4, 0, 0, 0, 0, time.UTC), failed.UpdatedAt)
	require.Equal(t, message.Pending, waiting.Status)
	require.Equal(t, waiting.Attempts, waiting.BudgetStart, "it has all its retries here")
	require.Equal(t, waiting.CreatedAt, waiting.DeliverAt)
}

func TestADryRunImportsNothing(t *testing.T) {
	from := original(t, originalTable, `INSERT INTO messages (id, phone_number, content) SELECT gen_random_uuid(), '+905551234567', 'x' FROM generate_series(1, 3)`)
	database := dbtest.URL(t)
	_, sums := importInto(t, database, from, "--dry-run")
	require.True(t, sums.DryRun)
	require.Equal(t, counts(3, 0, 0), sums.Imported)
	require.Empty(t, stored(t, database))
	importInto(t, database, from)
	_, sums = importInto(t, database, from, "--dry-run")
	require.Equal(t, counts(0, 0, 0), sums.Imported)
	require.EqualValues(t, 3, sums.Repeated)
}

func TestImportLosesNoRowThatIsNoMessage(t *testing.T) {
	from := original(t, `CREATE TABLE messages (id serial PRIMARY KEY, recipient text, content text, status text, message_id text, sent_at timestamp, created_at timestamp)`,
		`INSERT INTO messages (recipient, content, status, message_id, created_at) VALUES
			('+905551234567', 'good', 'unsent', NULL, '2024-01-01'),
			('05551234567', '', 'lost', NULL, 'infinity'),
			(NULL, NULL, 'sent', NULL, NULL),
			('+905551234567', 'on its way', 'processing', NULL, '2024-01-01'),
			('+905551234567', 'sent, is it?', 'pending', 'wa-5', '2024-01-01')`)
	database := dbtest.URL(t)
	rejects := filepath.Join(t.TempDir(), "rejects.ndjson")
	done, sums := importInto(t, database, from, "--rejects", rejects)
	require.Equal(t, 1, done.Code)
	require.Equal(t, counts(1, 0, 0), sums.Imported)
	require.EqualValues(t, 4, sums.Rejected)

	text, err := os.ReadFile(rejects)
	require.NoError(t, err)
	var got [][]string
	for line := range strings.Lines(string(text)) {
		var reject legacyimport.Reject
		require.NoError(t, json.Unmarshal([]byte(line), &reject))
		require.Contains(t, reject.Row, "recipient", "the row is there by its own names")
		mistakes := []string{reject.ID}
		for _, m := range reject.Errors {
			mistakes = append(mistakes, m.Field+" "+m.Code)
		}
		got = append(got, mistakes)
	}
	require.Equal(t, [][]string{
		{"2", "to invalid_phone_number", "content blank", "createdAt out_of_range", "status out_of_range"},
		{"3", "to required", "content required", "createdAt out_of_range"},
		{"4", "status conflict"},
		{"5", "status conflict"},
	}, got)
	require.True(t, strings.HasPrefix(done.Out, string(text)), "and on standard output as JSON")

	plain := dispatch(t, "import", "--from", from)
	plain.Fails(t, 1, "public.messages: id is id, to is recipient", "2: to must be a phone number", "; content must not be blank; ", `status is "processing": it may be in flight`)
	require.Equal(t, "5 read: 0 imported (0 PENDING, 0 SENT, 0 FAILED), 1 imported before, 4 rejected\n", plain.Out)
	dispatch(t, "import", "--from", from, "--rejects", rejects).Fails(t, 2, "--rejects", "exists")
}

// TestImportKnowsTheOriginalsKind is about tables of other solutions to the
// same assignment.
func TestImportKnowsTheOriginalsKind(t *testing.T) {
	for name, table := range map[string]struct {
		create, row string
		args        []string
		want        message.Status
	}{
		"a boolean": {
			`CREATE TABLE messages (id bigserial PRIMARY KEY, content varchar(255), phone_number varchar(20), sent boolean, created_at timestamp)`,
			`INSERT INTO messages (content, phone_number, sent, created_at) VALUES ('x', '905551234567', true, '2024-01-01')`, nil, message.Sent,
		},
		"told by sent_at": {
			`CREATE TABLE messages (id serial PRIMARY KEY, recipient varchar, content text, message_id text, created_at timestamp, sent_at timestamp)`,
			`INSERT INTO messages (recipient, content, created_at) VALUES ('+905551234567', 'x', '2024-01-01')`, nil, message.Pending,
		},
		"reserved and camel-case names": {
			`CREATE TABLE messages (id uuid PRIMARY KEY, "to" text, content text, "sendingStatus" text, "createdAt" timestamptz)`,
			`INSERT INTO messages VALUES (gen_random_uuid(), '+905551234567', 'x', 'failed', '2024-01-01')`, nil, message.Failed,
		},
		"an enum and names of its own": {
			`CREATE TYPE state AS ENUM ('Unsent', 'Sent'); CREATE SCHEMA sms; CREATE TABLE sms."Out" (number text PRIMARY KEY, mobile text, words text, what state, born date)`,
			`INSERT INTO sms."Out" VALUES ('n-1', '+905551234567', 'x', 'Sent', '2024-01-01')`,
			[]string{"--table", `sms."Out"`, "--map", "number=id", "--map", "mobile=to", "--map", "words=content", "--map", "what=status", "--map", "born=createdAt"},
			message.Sent,
		},
	} {
		t.Run(name, func(t *testing.T) {
			database := dbtest.URL(t)
			done, sums := importInto(t, database, original(t, table.create, table.row), table.args...)
			done.OK(t)
			require.EqualValues(t, 1, sums.Imported[table.want])
			require.Equal(t, "+905551234567", stored(t, database)[0].To)
		})
	}
}

func TestImportSaysWhatItLookedFor(t *testing.T) {
	dispatch(t, "import").Fails(t, 2, "--from")
	t.Setenv("DATABASE_URL", "")
	dispatch(t, "import", "--from", "postgres://x/x").Fails(t, 2, "DATABASE_URL")
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	dispatch(t, "import", "--from", "postgres://x/x").Fails(t, 1, "DATABASE_URL: no schema", "dispatch provision")
	target := dbtest.URL(t)
	t.Setenv("DATABASE_URL", target)
	done := dispatch(t, "import", "--from", "postgres://x:secret@127.0.0.1:1/x")
	done.Fails(t, 3, "--from: no answer from Postgres")
	require.NotContains(t, done.ErrOut, "secret")
	dispatch(t, "import", "--from", target).Fails(t, 2, "public.messages is a table of Message Dispatcher")

	from := original(t, `CREATE TABLE odd (id integer, mobile text, body text, created_at timestamptz)`)
	dispatch(t, "import", "--from", from).Fails(t, 2, `there is no table "messages"`, "public.odd")
	dispatch(t, "import", "--from", from, "--table", "odd").Fails(t, 2,
		"to: there is no column phone_number, recipient, ", "status or sentAt", "it has id, mobile, body, created_at", "--map column=field", "id, to, content, status")
	odd := []string{"import", "--from", from, "--table", "odd", "--map"}
	dispatch(t, append(odd, "mobile")...).Fails(t, 2, "column=field")
	dispatch(t, append(odd, "nothing=to")...).Fails(t, 2, "no column nothing", "id, mobile, body, created_at")
	dispatch(t, append(odd, "mobile=phone")...).Fails(t, 2, "no field phone", "externalId")
	dispatch(t, append(odd, "mobile=to", "--map", "body=status", "--map", "body=content")...).Fails(t, 2, "column id of public.odd is not an id", "primary key")
}

// TestTwoImportsAtOnceImportEverythingOnce is about repeats that overlap.
func TestTwoImportsAtOnceImportEverythingOnce(t *testing.T) {
	from := original(t, originalTable, fmt.Sprintf(`INSERT INTO messages (id, phone_number, content, status)
		SELECT gen_random_uuid(), '+905551234567', 'x', 'SENT' FROM generate_series(1, %d)`, 2*1000+1))
	t.Setenv("DATABASE_URL", dbtest.URL(t))
	results := make(chan clitest.Ended, 2)
	for range cap(results) {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
			defer cancel()
			var out, errOut embeddedtest.Output
			code := cli.Execute(ctx, []string{"import", "--from", from, "--json"}, strings.NewReader(""), &out, &errOut)
			results <- clitest.Ended{Code: code, Out: out.String(), ErrOut: errOut.String()}
		}()
	}
	var imported, repeated int64
	for range cap(results) {
		var sums legacyimport.Sums
		require.NoError(t, json.Unmarshal([]byte((<-results).OK(t)), &sums))
		imported += sums.Imported[message.Sent]
		repeated += sums.Repeated
	}
	require.EqualValues(t, 2*1000+1, imported)
	require.Equal(t, imported, repeated)
}
