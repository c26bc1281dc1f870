package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
)

// databasePrefix begins the name of every database that is made here.
const databasePrefix = "dispatch_bench_"

// databaseURL is the server's address with another database in it.
func (b *Bench) databaseURL(name string) (string, error) {
	u, err := url.Parse(b.stack.DatabaseURL)
	if err != nil {
		return "", errors.New("DATABASE_URL is no URL") // err repeats it, with its password
	}
	query := u.Query()
	query.Del("dbname")
	query.Del("database")
	u.Path, u.RawQuery = "/"+name, query.Encode()
	return u.String(), nil
}

// withServer runs work on a connection to the database of the address.
func (b *Bench) withServer(ctx context.Context, work func(*pgx.Conn) error) error {
	config, err := pgxpool.ParseConfig(b.stack.DatabaseURL)
	if err != nil {
		return fmt.Errorf("read DATABASE_URL: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return work(conn)
}

// createDatabase makes a database, as a copy of the filled one if there is
// one, and returns its address and how to remove it. That is returned with an
// error too.
func (b *Bench) createDatabase(ctx context.Context, name string) (at string, remove func(context.Context) error, err error) {
	remove = func(ctx context.Context) error {
		err := b.withServer(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			return err
		})
		if err != nil {
			return fmt.Errorf("left behind: database %s: %w", name, err)
		}
		return nil
	}
	err = b.withServer(ctx, func(conn *pgx.Conn) error {
		statement := "CREATE DATABASE " + name + " TEMPLATE template0"
		if b.filled != "" {
			statement = "CREATE DATABASE " + name + " TEMPLATE " + b.filled
			var version int
			if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
				return err
			}
			if version >= 150_000 {
				statement += " STRATEGY file_copy" // else all of it goes through the WAL
			}
		}
		_, err := conn.Exec(ctx, statement)
		for tries := 0; hasCode(err, objectInUse) && tries < 20; tries++ { // another bench copies it just now
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			_, err = conn.Exec(ctx, statement)
		}
		if hasCode(err, insufficientPrivilege) {
			user := pgx.Identifier{conn.Config().User}.Sanitize()
			return fmt.Errorf("%s may not create a database, and bench makes one of its own: ALTER ROLE %s CREATEDB", user, user)
		}
		return err
	})
	if err != nil {
		return "", remove, fmt.Errorf("create database: %w", err)
	}
	at, err = b.databaseURL(name)
	return at, remove, err
}

// What Postgres answers.
const (
	insufficientPrivilege = "42501"
	objectInUse           = "55006"
)

func hasCode(err error, code string) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == code
}

// findLeftovers tells of databases that a killed bench has left, and nobody
// is connected to.
func (b *Bench) findLeftovers(ctx context.Context) error {
	return b.withServer(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)
			AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datname = pg_database.datname)`, databasePrefix)
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		if len(names) > 0 {
			b.options.Notice("left by a bench that was killed, unless one is at work: database " + strings.Join(names, ", "))
		}
		return nil
	})
}

// stored.sql stores finished messages with their attempts.
//
//go:embed stored.sql
var storedSQL string

// storedAtOnce is how many of them a transaction stores.
const storedAtOnce = 20_000

// store makes the database that runs begin with.
func (b *Bench) store(ctx context.Context) error {
	name := databasePrefix + "stored_" + suffix()
	at, remove, err := b.createDatabase(ctx, name)
	b.later(remove)
	if err != nil {
		return err
	}
	pool, err := dbpool.Open(ctx, at, dbpool.Options{Name: "dispatch-bench", MaxConns: int32(storing())})
	if err != nil {
		return err
	}
	defer dbpool.Close(pool) // a database that somebody is connected to can't be copied
	if err := migrate.Up(ctx, pool); err != nil {
		return err
	}
	if err := b.storeAll(ctx, pool); err != nil {
		return fmt.Errorf("store messages: %w", err)
	}
	// Autovacuum has seen to what a real installation has stored; and what is
	// measured must not pay for writing it to disk.
	if _, err := pool.Exec(ctx, "VACUUM (ANALYZE) messages, attempts, message_filters"); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	_, _ = pool.Exec(ctx, "CHECKPOINT") // a given server may not let us: it will do so in its own time
	b.filled = name
	return nil
}

func storing() int { return min(runtime.NumCPU(), 4) }

func (b *Bench) storeAll(ctx context.Context, pool *pgxpool.Pool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(storing())
	var mu sync.Mutex
	done, n := 0, b.options.Stored
	for first := 0; first < n && ctx.Err() == nil; first += storedAtOnce {
		last := min(first+storedAtOnce, n)
		group.Go(func() error {
			err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, storedSQL, first+1, last, n)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			done += last - first
			b.options.Progress("stored", done, n)
			return err
		})
	}
	return group.Wait()
}
