// Command schemabench measures the schema at a size: inserts, claims, outcomes,
// lists, bytes per message, and the cost of deletes next to all that. It fills a
// private PostgreSQL, or the empty database of -url.
//
//	go run ./test/tools/schemabench -rows 10000000
//	go run ./test/tools/schemabench -rows 1000000 -phases load,lists
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
)

// leastRows keeps the samples from being empty. Claims need more, and say so.
const leastRows = 1000

// bench is one run.
type bench struct {
	pool, reads *pgxpool.Pool
	store       *db.Store
	rows        int
	seconds     time.Duration // the time to measure a rate
}

// phases are all phases, in the order in which they run.
var phases = []struct {
	name, about string
	run         func(*bench, context.Context) error
}{
	{"designs", "what the hot path costs in other layouts of the tables; as many messages as -rows, so give few", (*bench).compare},
	{"load", "fill the tables", (*bench).load},
	{"lists", "every filter of the list, with and without a time range; one message; the overview", (*bench).lists},
	{"inserts", "groups of 100 and 1,000", (*bench).inserts},
	{"claims", "k = 1,000 and k = 2", (*bench).claims},
	{"snapshot", "the same beside a snapshot that is held open", (*bench).snapshot},
	{"outcomes", "batches of 1,000", (*bench).outcomes},
	{"retention", "deletes, alone and beside claims", (*bench).retention},
	{"life", "bytes a message that was stored, claimed, sent and vacuumed; in emptied tables", (*bench).life},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemabench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var names []string
	for _, p := range phases {
		names = append(names, p.name)
	}
	rows := flag.Int("rows", 10_000_000, "messages to store first")
	url := flag.String("url", "", "an empty database, or one that an earlier run has loaded; empty: a private PostgreSQL")
	chosen := flag.String("phases", strings.Join(names[1:], ","), "what to measure")
	seconds := flag.Duration("for", 10*time.Second, "how long to measure each rate")
	flag.Parse()
	if *rows < leastRows {
		return fmt.Errorf("-rows must be %d or more", leastRows)
	}
	for _, name := range strings.Split(*chosen, ",") {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no phase %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	if *url == "" {
		server, err := private(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop(context.WithoutCancel(ctx))) }()
		*url = server.URL("bench")
	}
	b := &bench{rows: *rows, seconds: *seconds}
	if b.pool, err = dbpool.Open(ctx, *url, dbpool.Options{Name: "schemabench", MaxConns: 8}); err != nil {
		return err
	}
	defer b.pool.Close()
	if b.reads, err = dbpool.Open(ctx, *url, dbpool.Options{Name: "schemabench-lists", MaxConns: 2, Lists: true}); err != nil {
		return err
	}
	defer b.reads.Close()
	b.store = db.NewStore(b.pool)
	if err := migrate.Up(ctx, b.pool); err != nil {
		return err
	}
	if err := b.store.ProvisionSchedule(ctx, 0, 0); err != nil {
		return err
	}
	for _, p := range phases {
		if !slices.Contains(strings.Split(*chosen, ","), p.name) {
			continue
		}
		fmt.Printf("\n# %s: %s\n", p.name, p.about)
		began := time.Now()
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Printf("(%.0f s)\n", time.Since(began).Seconds())
	}
	return nil
}

// private starts a PostgreSQL with durable commits and some memory.
func private(ctx context.Context) (*postgres.Server, error) {
	server, err := postgres.Start(ctx, postgres.Config{Ephemeral: true, Settings: map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "512MB",
	}})
	if err != nil {
		return nil, err
	}
	err = server.CreateDatabase(ctx, "bench")
	return server, err
}
