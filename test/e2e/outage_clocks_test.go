package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// shift sets the clock of w's Postgres to another time than this machine's,
// and with it that of every service: what they ask for is found here before
// the functions of Postgres' own.
func (w *pipeline) shift(by time.Duration) {
	w.t.Helper()
	pool, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test"})
	require.NoError(w.t, err)
	defer pool.Close()
	for _, statement := range []string{
		"CREATE SCHEMA shifted",
		fmt.Sprintf("CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '%d seconds' $$", int(by.Seconds())),
		fmt.Sprintf("CREATE FUNCTION shifted.now() RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT pg_catalog.now() + interval '%d seconds' $$", int(by.Seconds())),
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = shifted, public, pg_catalog', current_database()); END $$",
	} {
		_, err := pool.Exec(w.t.Context(), statement)
		require.NoError(w.t, err)
	}
	again, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test"})
	require.NoError(w.t, err)
	w.t.Cleanup(again.Close)
	w.store = db.NewStore(again)
	require.WithinDuration(w.t, time.Now().Add(by), w.now(), waitTimeout)
}

// now is what Postgres' clock says.
func (w *pipeline) now() time.Time {
	w.t.Helper()
	now, err := w.store.Clock(w.t.Context())
	require.NoError(w.t, err)
	return now
}

// Every service runs on a machine whose clock is ten minutes ahead of Postgres'
// or behind: what is due, what has expired, when the next attempt is made and
// what the webhook receives all use Postgres' clock.
func TestClocksThatAreMinutesOffChangeNothing(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"machines behind": 10 * time.Minute, "machines ahead": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPipeline(t, "WEBHOOK_SECRET", "whsec_c2VjcmV0", "LEASE", "1h")
			w.shift(by)
			w.webhook.respondWith(func(n int, c call, rw http.ResponseWriter, _ *http.Request) {
				if n == 1 && strings.Contains(string(c.Body), "again") {
					rw.Header().Set("Retry-After", "11") // so long that it is parked
					rw.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			ingest := w.runAll()

			later := w.now().Add(5 * time.Second).UTC()
			due := ingest.post(t, fmt.Sprintf(`{"to":"+905551111111","content":"later","deliverAt":%q}`, later.Format(time.RFC3339Nano)))
			expires := w.now().Add(5 * time.Minute)
			lasting := w.insert(draft(func(m *message.Message) { m.ExpiresAt = &expires }))[0]
			begun := w.now()
			again := w.insert(draft(func(m *message.Message) { m.Content = "again" }))[0]

			next := w.awaitStatus(again, message.Retrying).NextAttemptAt
			require.WithinRange(t, *next, begun.Add(11*time.Second), w.now().Add(12*time.Second))
			sent := w.awaitStatus(again, message.Sent)
			require.False(t, sent.SentAt.Before(*next), "sent at %s, due at %s", sent.SentAt, next)
			require.Less(t, sent.SentAt.Sub(*next), 5*time.Minute, "the retry waits for NATS' time of it")

			require.Equal(t, message.Sent, w.awaitStatus(lasting, message.Sent, message.Expired).Status)
			require.False(t, w.awaitStatus(due, message.Sent).SentAt.Before(later))
			for _, c := range w.webhook.received("") {
				stamp, err := strconv.ParseInt(c.Header.Get("Webhook-Timestamp"), 10, 64)
				require.NoError(t, err)
				require.WithinRange(t, time.Unix(stamp, 0), begun.Add(-waitTimeout), w.now())
			}
			attempts, err := w.store.Attempts(t.Context(), again)
			require.NoError(t, err)
			require.Len(t, attempts, 2)
			require.WithinRange(t, attempts[0].StartedAt, begun, *next)
		})
	}
}
