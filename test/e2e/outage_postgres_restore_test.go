package e2e_test

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// clientURL is a database's address without what only a pool understands.
func clientURL(t testing.TB, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	query := parsed.Query()
	query.Del("pool_max_conns")
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}

// everything lists the messages of a database by id.
func everything(t testing.TB, address string) map[message.ID]message.Status {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), clientURL(t, address))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var text []byte
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT json_object_agg(id, status) FROM messages").Scan(&text))
	var all map[message.ID]message.Status
	require.NoError(t, json.Unmarshal(text, &all))
	return all
}

// TestADumpOfALoadedSystemComesBackWhole takes a backup with pg_dump in the
// middle of everything, loses Postgres and every stream, and goes on from the
// backup with an empty NATS.
func TestADumpOfALoadedSystemComesBackWhole(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "LEASE", "5s") // a row holds the lease that it was given
	w.webhook.respondWith((&acceptedCount{accepted: map[string]int{}}).answer)
	services := []*runningService{w.runDispatcher(), w.runSender()}
	ingest := w.runIngest()
	later := w.insert(draft(func(m *message.Message) { m.DeliverAt = time.Now().Add(time.Hour) }))[0]
	load := startLoad(t, ingest.url, 4)
	load.await(300)

	before := load.count()
	dump := filepath.Join(t.TempDir(), "dispatch.sql")
	command(t, "pg_dump", "--no-owner", "--file="+dump, clientURL(t, w.env["DATABASE_URL"]))
	load.await(100) // and these are lost with the disk
	accepted := load.stop()
	ingest.stop()
	for _, service := range services {
		service.stop()
	}
	w.stopNATS()
	firstLife := len(w.webhook.received(""))

	restored := dbtest.EmptyURL(t)
	command(t, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--file="+dump, clientURL(t, restored))
	dumped := everything(t, restored)
	for _, id := range accepted[:before] {
		require.Contains(t, dumped, id, "what was accepted before the dump is in it")
	}
	require.Less(t, len(dumped), len(accepted)+1, "what came after it is not")
	open := 0
	for id, status := range dumped {
		if !status.Final() && id != later {
			open++
		}
	}
	require.Positive(t, open, "the dump was taken in the middle of everything")

	again := newUnprovisioned(t, "DATABASE_URL", restored, "WEBHOOK_URL", w.webhook.URL, "LEASE", "5s")
	again.provision()
	api := again.runAll()
	for id := range dumped {
		if id != later {
			m := again.awaitStatus(id, message.Sent, message.Failed, message.Expired)
			require.Equal(t, message.Sent, m.Status, "%s", m.LastError)
		}
	}
	require.Equal(t, message.Pending, api.get(t, later).Status)
	for _, c := range w.webhook.received("")[firstLife:] {
		id, err := message.ParseID(c.ID)
		require.NoError(t, err, "every request carries the key of its message")
		require.Contains(t, dumped, id)
		require.NotEqual(t, message.Sent, dumped[id], "message %s was SENT in the dump and was sent again", id)
	}
	overview, err := again.store.Overview(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, len(dumped)-1, overview.Counts[message.Sent], "the counts are exact")
	require.EqualValues(t, 1, overview.Counts[message.Pending])
	again.awaitStatus(api.post(t, hello), message.Sent)
	again.requireNothingLeft()
}

// TestADumpRestoredNextToItsNATSSendsNothingAgain restores a backup and keeps the
// streams: what was sent since the backup is known from there.
func TestADumpRestoredNextToItsNATSSendsNothingAgain(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	services := []*runningService{w.runDispatcher(), w.runSender()}
	ingest := w.runIngest()
	later := w.insert(draft(func(m *message.Message) { m.DeliverAt = time.Now().Add(time.Hour) }))[0]
	load := startLoad(t, ingest.url, 4)
	load.await(100)
	dump := filepath.Join(t.TempDir(), "dispatch.sql")
	command(t, "pg_dump", "--no-owner", "--file="+dump, clientURL(t, w.env["DATABASE_URL"]))
	load.await(50)
	w.requireAllSent(load.stop())
	ingest.stop()
	for _, service := range services {
		service.stop()
	}

	w.env["DATABASE_URL"] = dbtest.EmptyURL(t)
	command(t, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--file="+dump, clientURL(t, w.env["DATABASE_URL"]))
	// A dump that is restored on the server that it came from has its timeline.
	w.sql("UPDATE schedule SET trusted_timeline = '1/00000001'")
	w.open()
	w.provision()
	w.runAll()
	for id := range everything(t, w.env["DATABASE_URL"]) {
		if id != later {
			w.awaitStatus(id, message.Sent)
		}
	}
	w.awaitTrusted()
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}
