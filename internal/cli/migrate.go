package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// reachWait bounds how long a server may take to answer at all.
const reachWait = 5 * time.Second

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the schema in Postgres up, or a step down", GroupID: "care",
		Long: `Moves the schema of the database that DATABASE_URL names. "dispatch provision"
brings it up too, together with the streams.`,
		Example: `  dispatch migrate up
  dispatch migrate status --json
  dispatch migrate down --yes`,
	}
	needsOneOf(cmd)
	cmd.AddCommand(newMigrateUp(), newMigrateDown(), newMigrateStatus())
	return cmd
}

func newMigrateUp() *cobra.Command {
	return migration(&cobra.Command{
		Use: "up", Short: "Bring the schema up to this program's version",
		Example: `  DATABASE_URL=postgres://dispatch@db/dispatch dispatch migrate up`,
	}, db.Migrate)
}

func newMigrateDown() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "down", Short: "Take the last step of the schema back",
		Long:    "Takes the last step of the schema back. Stop the services first. A step that\ndrops what is stored is taken back only with --yes.",
		Example: `  dispatch migrate down --yes`,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "also when it drops data")
	return migration(cmd, func(ctx context.Context, pool *pgxpool.Pool) error {
		version, err := db.SchemaVersion(ctx, pool)
		if err != nil {
			return err
		}
		if version > 0 && !yes && db.DownLosesData(version) {
			return usage(fmt.Errorf("taking version %d back drops what is stored in it; --yes does it all the same", version))
		}
		return db.MigrateDown(ctx, pool)
	})
}

func newMigrateStatus() *cobra.Command {
	return migration(&cobra.Command{
		Use: "status", Short: "Show the version of the schema and this program's",
		Example: `  dispatch migrate status`,
	}, func(context.Context, *pgxpool.Pool) error { return nil })
}

// schemaState is where the schema stands.
type schemaState struct {
	Version    int64 `json:"version"` // 0: there is none
	Wanted     int64 `json:"wanted"`
	Unfinished bool  `json:"unfinished"`
}

// migration completes a command that does something to the schema and then
// shows where it stands.
func migration(cmd *cobra.Command, work func(context.Context, *pgxpool.Pool) error) *cobra.Command {
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadPart[struct{ Postgres service.Postgres }](cmd)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		pool, err := openDatabase(ctx, cfg.Postgres.URL())
		if err != nil {
			return err
		}
		defer db.Close(pool)
		if err := work(ctx, pool); err != nil {
			return err
		}
		state, err := readSchema(ctx, pool)
		if err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), asJSON, state, func(t *table) { fillSchema(t, state) })
	}
	return cmd
}

// openDatabase connects, since a pool by itself would not tell.
func openDatabase(ctx context.Context, url string) (*pgxpool.Pool, error) {
	pool, err := db.Open(ctx, url, db.Options{Name: "dispatch-cli", MaxConns: 4})
	if err != nil {
		return nil, usage(err)
	}
	bounded, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	if err := pool.Ping(bounded); err != nil {
		db.Close(pool)
		if denied(err) || db.Final(err) || errors.Is(err, db.ErrInRecovery) || !db.Unavailable(err) {
			return nil, fmt.Errorf("Postgres %w: %w", errRefused, shortError{lastLine(err), err})
		}
		return nil, unreachable(fmt.Errorf("no answer from Postgres: %w", shortError{lastLine(err), err}))
	}
	return pool, nil
}

// denied says whether Postgres answered, and does not let us: a password, a
// database that there is not, a right that is missing.
func denied(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && slices.Contains([]string{"28", "3D", "42"}, refused.Code[:2])
}

// shortError says an error in fewer words.
type shortError struct {
	text string
	err  error
}

func (e shortError) Error() string { return e.text }

func (e shortError) Unwrap() error { return e.err }

// lastLine is the last of the tries that the driver lists.
func lastLine(err error) string {
	text := strings.TrimSpace(err.Error())
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

func readSchema(ctx context.Context, pool *pgxpool.Pool) (schemaState, error) {
	version, err := db.SchemaVersion(ctx, pool)
	state := schemaState{Version: version, Wanted: db.LatestVersion()}
	if errors.Is(err, db.ErrUnfinished) {
		state.Unfinished = true
		return state, nil
	}
	return state, err
}

func fillSchema(t *table, s schemaState) {
	state := cell{"up to date", styleGood}
	switch {
	case s.Unfinished:
		state = cell{"unfinished: " + unfinishedRemedy, styleBad}
	case s.Version == 0:
		state = cell{`no schema: "dispatch migrate up" makes it`, styleWait}
	case s.Version < s.Wanted:
		state = cell{`behind: "dispatch migrate up" brings it up`, styleWait}
	case s.Version > s.Wanted:
		state = cell{"newer than this program", styleWait}
	}
	t.row("schema", s.Version)
	t.row("program", s.Wanted)
	t.row("state", state)
}

const unfinishedRemedy = "find out what kept the last step from its end, put it right, then set dirty to false in schema_migrations, and version to the last one that is complete"

// loadPart reads a part of the configuration from the environment and .env, and
// tells on standard error what has no effect.
func loadPart[T any](cmd *cobra.Command) (T, error) {
	loaded, err := service.LoadWith(service.Parse[T])
	for _, warning := range append(loaded.Warnings, service.Warnings(service.Environment{}, &loaded.Config)...) {
		fmt.Fprintf(cmd.ErrOrStderr(), "dispatch: %s\n", warning)
	}
	return loaded.Config, err
}
