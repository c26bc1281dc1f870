package crash_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// importPoints are passed by an import, page by page.
func importPoints() []scenario {
	return []scenario{
		{point: failpoint.ImportStored},
		{point: failpoint.ImportStored, passing: ":2"},
	}
}

// An import that dies is run again, and then everything is there once.
func TestEveryCrashOfAnImportIsSurvived(t *testing.T) {
	t.Parallel()
	const rows, pending = 2500, 250
	for _, s := range importPoints() {
		t.Run(s.name()+s.passing, func(t *testing.T) {
			t.Parallel()
			from, env := dbtest.EmptyURL(t), settings.Environment{"DATABASE_URL": withoutPoolSize(dbtest.URL(t)), "LOG_LEVEL": "warn"}
			source, err := pgx.Connect(t.Context(), withoutPoolSize(from))
			require.NoError(t, err)
			defer source.Close(t.Context())
			_, err = source.Exec(t.Context(), fmt.Sprintf(`CREATE TABLE messages AS
				SELECT gen_random_uuid() AS id, '+905551111111' AS phone_number, 'hello ' || n AS content,
					CASE WHEN n %% 10 = 0 THEN 'PENDING' ELSE 'SENT' END AS status, now() AS created_at, now() AS updated_at
				FROM generate_series(1, %d) AS n`, rows))
			require.NoError(t, err)
			_, err = source.Exec(t.Context(), "ALTER TABLE messages ADD PRIMARY KEY (id)")
			require.NoError(t, err)

			importing := newVictim(t, env, "import", func(env map[string]string) *testenv.Process {
				return testenv.NewProcess(t, "import", testenv.Build(t, "failpoints"), env, "import", "--from", withoutPoolSize(from))
			})
			<-importing.superviseDeaths(s.deaths(2), func() {})
			require.False(t, t.Failed(), "it did not die as planned")
			require.Zero(t, importing.Wait(), "%s", importing.Output)

			pool, err := dbpool.Open(t.Context(), withConnectTimeout(env["DATABASE_URL"]), dbpool.Options{Name: "test"})
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			var all, waiting, announced int
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(DISTINCT content), count(*) FILTER (WHERE status = 'PENDING'),
				(SELECT count(*) FROM outbox) FROM messages`).Scan(&all, &waiting, &announced))
			require.Equal(t, rows, all)
			require.Equal(t, pending, waiting)
			require.Positive(t, announced)
			require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM messages").Scan(&all))
			require.Equal(t, rows, all, "nothing is there twice")
		})
	}
}

// withoutPoolSize is an address without the parameter that pgxpool alone knows.
func withoutPoolSize(address string) string {
	return strings.Replace(address, "&pool_max_conns=10", "", 1)
}
