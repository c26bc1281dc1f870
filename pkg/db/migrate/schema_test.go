package migrate_test

import (
	"bytes"
	"fmt"
	"io/fs"
	osexec "os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/migrations"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
)

// dumpSchema is the schema as pg_dump tells it: every table, column, default,
// check, index, function, trigger and comment, in an order of its own.
func dumpSchema(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	address := strings.ReplaceAll(pool.Config().ConnConfig.ConnString(), "&pool_max_conns=10", "")
	cmd := osexec.CommandContext(t.Context(), "pg_dump", "--schema-only", "--no-owner", "--exclude-table=schema_migrations", address)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	// Newer versions put a key of their own, another one each time, around a dump.
	return regexp.MustCompile(`(?m)^\\(un)?restrict .*$`).ReplaceAllString(string(text), "")
}

// TestEveryMigrationLeadsBackToTheSchemaBeforeIt goes up, down and up again
// at each step and compares what is there before and after, exactly.
func TestEveryMigrationLeadsBackToTheSchemaBeforeIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool, err := dbpool.Open(ctx, dbtest.EmptyURL(t), dbpool.Options{Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	// From the newest down to nothing, and what stood at each version.
	require.NoError(t, migrate.Up(ctx, pool))
	at := map[int64]string{}
	for version := migrate.LatestVersion(); version > 0; version-- {
		at[version] = dumpSchema(t, pool)
		require.NoError(t, migrate.Down(ctx, pool))
	}
	at[0] = dumpSchema(t, pool)
	require.NotContains(t, at[0], "CREATE ", "nothing is left of it")
	require.Contains(t, at[migrate.LatestVersion()], "CREATE TABLE public.messages ")

	// Up again, one step at a time: the down of each step led to exactly what
	// the up of the one before makes.
	for version := int64(1); version <= migrate.LatestVersion(); version++ {
		up, err := fs.Glob(migrations.Files, fmt.Sprintf("%04d_*.up.sql", version))
		require.NoError(t, err)
		require.Len(t, up, 1, "one step to version %d", version)
		statements, err := fs.ReadFile(migrations.Files, up[0])
		require.NoError(t, err)
		exec(t, pool, string(statements))
		require.Equal(t, at[version], dumpSchema(t, pool), "version %d, after it was taken back and made anew", version)
	}
}

// shrinking are statements after which the version before can't work, or
// that make it wait: what they take away, or rename, it still asks for.
var shrinking = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|TYPE|FUNCTION|SCHEMA)|RENAME|ALTER\s+COLUMN\s+\S+\s+(SET\s+NOT\s+NULL|(SET\s+DATA\s+)?TYPE)|TRUNCATE)\b`)

// contraction is the first line of a step that takes away what an earlier
// release stopped using.
const contraction = "-- contract: "

// TestMigrationsOnlyAdd holds the rule of rolling upgrades: a step only adds,
// so that the version before goes on beside the new one. A step that takes
// away says in its first line since which release nobody uses it.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	up, err := fs.Glob(migrations.Files, "*.up.sql")
	require.NoError(t, err)
	require.NotEmpty(t, up)
	for _, file := range up {
		statements, err := fs.ReadFile(migrations.Files, file)
		require.NoError(t, err)
		require.Empty(t, breaking(string(statements)), "%s takes away or changes what the version before uses; "+
			"add beside it, and take away in a later release, in a step that begins with %q and that release", file, contraction)
	}
}

// breaking lists what in a step breaks the version before.
func breaking(statements string) []string {
	if strings.HasPrefix(statements, contraction) {
		return nil
	}
	return shrinking.FindAllString(regexp.MustCompile(`--.*`).ReplaceAllString(statements, ""), -1)
}

func TestWhatBreaksTheVersionBefore(t *testing.T) {
	t.Parallel()
	for statement, wrong := range map[string]bool{
		"ALTER TABLE messages ADD COLUMN tenant text":                         false,
		"CREATE INDEX messages_tenant ON messages (tenant)":                   false,
		"-- DROP TABLE is for later\nSELECT 1":                                false,
		"ALTER TABLE messages DROP COLUMN claim":                              true,
		"alter table messages rename column claim to fence":                   true,
		"ALTER TABLE messages ALTER COLUMN claim TYPE text":                   true,
		"ALTER TABLE messages ALTER COLUMN type SET NOT NULL":                 true,
		"DROP FUNCTION count_inserted()":                                      true,
		contraction + "unused since v1.2\nALTER TABLE messages DROP COLUMN x": false,
	} {
		require.Equal(t, wrong, len(breaking(statement)) > 0, statement)
	}
}
