package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
)

// rawPath answers at once and counts nothing.
const rawPath = "/raw"

// raw returns how many requests a second the receiver answers to the load's
// connections.
func (r *receiver) raw(ctx context.Context, options Options) (float64, error) {
	var answered atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range options.Connections {
		workers.Go(func() {
			client := newClient(r.url)
			defer client.CloseIdleConnections()
			for time.Since(began) < options.RawFor && ctx.Err() == nil {
				if _, err := client.post(call{rawPath, body(0), contentJSON}); err != nil {
					return
				}
				answered.Add(1)
			}
		})
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if answered.Load() == 0 {
		return 0, errors.New("the receiver does not answer")
	}
	return float64(answered.Load()) / time.Since(began).Seconds(), nil
}

// maxInsertConnections leaves the services theirs of the hundred that Postgres
// has by default.
const maxInsertConnections = 48

// insertConnections are as many as the load has, within that.
func (o Options) insertConnections() int { return min(o.Connections, maxInsertConnections) }

// rawInserts returns how many rows a second Postgres takes, one row a
// transaction, as safe as it is set up to keep them.
func rawInserts(ctx context.Context, database string, options Options) (rate float64, err error) {
	pool, err := dbpool.Open(ctx, database, dbpool.Options{Name: "dispatch-bench", MaxConns: int32(options.insertConnections())})
	if err != nil {
		return 0, err
	}
	defer dbpool.Close(pool)
	if _, err := pool.Exec(ctx, "CREATE TABLE bench_inserts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text NOT NULL)"); err != nil {
		return 0, fmt.Errorf("measure inserts: %w", err)
	}
	rate, err = insertAll(ctx, pool, options)
	if err == nil {
		_, err = pool.Exec(ctx, "DROP TABLE bench_inserts")
	}
	if err != nil {
		return 0, fmt.Errorf("measure inserts: %w", err)
	}
	return rate, nil
}

func insertAll(ctx context.Context, pool *pgxpool.Pool, options Options) (float64, error) {
	var conns []*pgxpool.Conn // all are there when the clock starts
	defer func() {
		for _, conn := range conns {
			conn.Release()
		}
	}()
	for range options.insertConnections() {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
	}
	var rows atomic.Int64
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		group.Go(func() error {
			for time.Since(began) < options.RawFor {
				if _, err := conn.Exec(ctx, "INSERT INTO bench_inserts (content) VALUES ($1)", text(0)); err != nil {
					return err
				}
				rows.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return float64(rows.Load()) / time.Since(began).Seconds(), nil
}
