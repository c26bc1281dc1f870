package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/command"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/environment"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/internal/doctor"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Migrate the schema in Postgres up, or one step down", GroupID: "maintenance",
		Long: `Migrates the schema of the database in DATABASE_URL. "dispatch provision" migrates
it up too, together with the streams.`,
		Example: `  dispatch migrate up
  dispatch migrate status --json
  dispatch migrate down --yes`,
	}
	command.NeedsSubcommand(cmd)
	cmd.AddCommand(newMigrateUp(), newMigrateDown(), newMigrateStatus())
	return cmd
}

func newMigrateUp() *cobra.Command {
	return migration(&cobra.Command{
		Use: "up", Short: "Migrate the schema up to this program's version",
		Example: `  DATABASE_URL=postgres://dispatch@db/dispatch dispatch migrate up`,
	}, migrate.Up)
}

func newMigrateDown() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "down", Short: "Undo the last step of the schema",
		Long:    "Undoes the last step of the schema. Stop the services first. A step whose undo\ndrops stored data needs --yes.",
		Example: `  dispatch migrate down --yes`,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "even if data is dropped")
	return migration(cmd, func(ctx context.Context, pool *pgxpool.Pool) error {
		version, err := migrate.Version(ctx, pool)
		if err != nil {
			return err
		}
		if version > 0 && !yes && migrate.DownLosesData(version) {
			return exit.Usage(fmt.Errorf("undoing version %d drops stored data; confirm it with --yes", version))
		}
		return migrate.Down(ctx, pool)
	})
}

func newMigrateStatus() *cobra.Command {
	return migration(&cobra.Command{
		Use: "status", Short: "Show the version of the schema and this program's",
		Example: `  dispatch migrate status`,
	}, func(context.Context, *pgxpool.Pool) error { return nil })
}

// schemaState compares the schema with this program.
type schemaState struct {
	Version    int64 `json:"version"` // 0: there is no schema
	Wanted     int64 `json:"wanted"`
	Unfinished bool  `json:"unfinished"`
}

// migration completes a command that works on the schema and then shows its
// version.
func migration(cmd *cobra.Command, work func(context.Context, *pgxpool.Pool) error) *cobra.Command {
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := environment.Load[struct{ Postgres settings.Postgres }](cmd)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		pool, err := connect.Postgres(ctx, cfg.Postgres.URL())
		if err != nil {
			return err
		}
		defer dbpool.Close(pool)
		if err := work(ctx, pool); err != nil {
			return err
		}
		state, err := readSchema(ctx, pool)
		if err != nil {
			return err
		}
		return output.Show(cmd.OutOrStdout(), asJSON, state, func(t *output.Table) { fillSchema(t, state) })
	}
	return cmd
}

func readSchema(ctx context.Context, pool *pgxpool.Pool) (schemaState, error) {
	version, err := migrate.Version(ctx, pool)
	state := schemaState{Version: version, Wanted: migrate.LatestVersion()}
	if errors.Is(err, migrate.ErrUnfinished) {
		state.Unfinished = true
		return state, nil
	}
	return state, err
}

func fillSchema(t *output.Table, s schemaState) {
	state := output.Styled("up to date", output.StyleGood)
	switch {
	case s.Unfinished:
		state = output.Styled("unfinished: "+doctor.UnfinishedRemedy, output.StyleBad)
	case s.Version == 0:
		state = output.Styled(`no schema: run "dispatch migrate up"`, output.StyleWaiting)
	case s.Version < s.Wanted:
		state = output.Styled(`behind: run "dispatch migrate up"`, output.StyleWaiting)
	case s.Version > s.Wanted:
		state = output.Styled("newer than this program", output.StyleWaiting)
	}
	t.Row("schema", s.Version)
	t.Row("program", s.Wanted)
	t.Row("state", state)
}
