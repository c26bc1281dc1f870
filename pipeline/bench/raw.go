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

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// rawFor is how long the machine's own limits are measured.
const rawFor = time.Second

// rawPath answers at once and counts nothing.
const rawPath = "/raw"

// raw returns how many requests a second the receiver answers to so many
// connections.
func (r *receiver) raw(ctx context.Context, connections int) (float64, error) {
	var answered atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range connections {
		workers.Go(func() {
			client := newClient(r.url)
			defer client.CloseIdleConnections()
			for time.Since(began) < rawFor && ctx.Err() == nil {
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

// rawInserts returns how many rows a second Postgres takes from so many
// connections, one row a transaction, as safe as it is set up to keep them.
func rawInserts(ctx context.Context, database string, connections int) (rate float64, err error) {
	pool, err := db.Open(ctx, database, db.Options{Name: "dispatch-bench", MaxConns: int32(connections)})
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "CREATE TABLE bench_inserts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text NOT NULL)"); err != nil {
		return 0, fmt.Errorf("measure inserts: %w", err)
	}
	rate, err = insertAll(ctx, pool, connections)
	if err == nil {
		_, err = pool.Exec(ctx, "DROP TABLE bench_inserts")
	}
	if err != nil {
		return 0, fmt.Errorf("measure inserts: %w", err)
	}
	return rate, nil
}

func insertAll(ctx context.Context, pool *pgxpool.Pool, connections int) (float64, error) {
	conns := make([]*pgxpool.Conn, connections) // all are there when the clock starts
	for i := range conns {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		defer conn.Release()
		conns[i] = conn
	}
	var rows atomic.Int64
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		group.Go(func() error {
			for time.Since(began) < rawFor {
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
