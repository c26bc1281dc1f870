package e2e_test

import (
	"context"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// replicated is a PostgreSQL with an asynchronous standby.
type replicated struct {
	t                *testing.T
	primary, standby *postgres.Server
}

func startReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{t: t}
	homes := [2]string{embeddedtest.Dir(t), embeddedtest.Dir(t)}
	r.primary = r.start(homes[0])
	require.NoError(t, r.primary.CreateDatabase(t.Context(), "dispatch"))

	data := filepath.Join(homes[1], "data")
	command(t, "pg_basebackup", "--pgdata="+data, "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname="+r.primary.URL("postgres"))
	password, err := os.ReadFile(filepath.Join(homes[0], "password"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(homes[1], "password"), password, 0o600))
	owner, err := os.Stat(filepath.Join(homes[0], "data"))
	require.NoError(t, err)
	who := owner.Sys().(*syscall.Stat_t)
	require.NoError(t, filepath.WalkDir(homes[1], func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(who.Uid), int(who.Gid))
	}))
	r.standby = r.start(homes[1])
	return r
}

func (r *replicated) start(home string) *postgres.Server {
	r.t.Helper()
	server, err := postgres.Start(r.t.Context(), postgres.Config{Dir: home, Settings: map[string]string{
		"fsync": "off", "shared_buffers": "16MB", "max_wal_senders": "4", "wal_level": "replica", "hot_standby": "on",
	}})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server
}

// url names both servers, as an operator would.
func (r *replicated) url() string {
	r.t.Helper()
	first, err := url.Parse(r.primary.URL("dispatch"))
	require.NoError(r.t, err)
	second, err := url.Parse(r.standby.URL("dispatch"))
	require.NoError(r.t, err)
	first.Host += "," + second.Host
	return first.String()
}

// ask runs a statement that returns one text on one of the servers.
func (r *replicated) ask(server *postgres.Server, statement string) (text string) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), server.URL("postgres"))
	require.NoError(r.t, err)
	defer conn.Close(r.t.Context())
	require.NoError(r.t, conn.QueryRow(r.t.Context(), statement).Scan(&text))
	return text
}

func (r *replicated) run(server *postgres.Server, statement string) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), server.URL("postgres"))
	require.NoError(r.t, err)
	defer conn.Close(r.t.Context())
	_, err = conn.Exec(r.t.Context(), statement)
	require.NoError(r.t, err)
}

// cutOff has the standby receive what is committed now, and nothing after it.
func (r *replicated) cutOff() {
	r.t.Helper()
	position := r.ask(r.primary, "SELECT pg_current_wal_lsn()::text")
	testenv.Eventually(r.t, func() bool {
		return r.ask(r.standby, "SELECT coalesce(pg_last_wal_replay_lsn() >= '"+position+"', false)::text") == "true"
	}, "the standby does not receive what is committed")
	r.run(r.standby, "ALTER SYSTEM SET primary_conninfo = ''")
	r.run(r.standby, "SELECT pg_reload_conf()")
	testenv.Eventually(r.t, func() bool {
		return r.ask(r.standby, "SELECT count(*)::text FROM pg_stat_wal_receiver") == "0"
	}, "the standby receives for ever")
}

// failOver loses the primary, and has the standby take over.
func (r *replicated) failOver() {
	r.t.Helper()
	require.NoError(r.t, r.primary.Stop(context.Background()))
	require.Equal(r.t, "true", r.ask(r.standby, "SELECT pg_promote()::text"))
}

// TestAStandbyTakesOverThatLacksTheNewestCommits has a real standby promoted.
func TestAStandbyTakesOverThatLacksTheNewestCommits(t *testing.T) {
	t.Parallel()
	servers := startReplicated(t)
	w := newUnprovisioned(t, "DATABASE_URL", servers.url(), "WEBHOOK_TIMEOUT", "30s", "SHUTDOWN_TIMEOUT", "40s")
	w.wire.ignore()
	w.provision()
	var mu sync.Mutex
	gates := map[string]chan struct{}{}
	w.webhook.respondWith(func(_ int, c call, out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		gate := gates[c.ID]
		mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-r.Context().Done():
			}
		}
		out.WriteHeader(http.StatusAccepted)
	})
	hour := func(m *message.Message) { m.DeliverAt = time.Now().Add(time.Hour) }
	answered, inFlight := draft(), draft()
	cancelled, claimed := draft(hour), draft(hour)
	gates[answered.ID.String()], gates[inFlight.ID.String()] = make(chan struct{}), make(chan struct{})
	api := w.runAll()
	w.insert(answered, inFlight, cancelled, claimed)
	w.awaitCalls(answered.ID, 1)
	w.awaitCalls(inFlight.ID, 1)

	servers.cutOff()
	close(gates[answered.ID.String()])
	w.awaitStatus(answered.ID, message.Sent)
	status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/"+cancelled.ID.String()+"/cancel", "")
	require.Equal(t, http.StatusOK, status, "%s", answer)
	w.sql("UPDATE messages SET deliver_at = clock_timestamp() WHERE id = $1", claimed.ID)
	w.awaitStatus(claimed.ID, message.Sent)
	gone := api.post(t, hello)
	w.awaitStatus(gone, message.Sent)
	w.awaitRecorded()
	testenv.Eventually(t, func() bool { return len(w.eventsOf(message.EventCancelled, cancelled.ID)) == 1 })
	servers.failOver()

	testenv.Eventually(t, func() bool {
		timeline, err := w.store.Timeline(t.Context())
		return err == nil && timeline.Trusted && strings.HasSuffix(timeline.Server, "/00000002")
	}, "nobody brings back what was lost")
	w.awaitStatus(answered.ID, message.Sent)
	w.awaitStatus(cancelled.ID, message.Cancelled)
	w.awaitStatus(claimed.ID, message.Sent)
	close(gates[inFlight.ID.String()])
	w.awaitStatus(inFlight.ID, message.Sent)
	w.awaitStatus(api.post(t, hello), message.Sent)
	_, err := w.store.Get(t.Context(), gone)
	require.Error(t, err, "what was accepted since is lost with its commit")
	for _, id := range []message.ID{answered.ID, inFlight.ID, claimed.ID, gone} {
		require.Len(t, w.webhook.received(id.String()), 1)
	}
	require.Empty(t, w.webhook.received(cancelled.ID.String()))
	w.requireNothingLeft()
}
