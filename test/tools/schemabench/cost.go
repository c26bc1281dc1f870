package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// cost is what Postgres spent. Unlike a rate it means something on a machine
// that is shared with others.
type cost struct {
	cpu map[int]time.Duration // of each backend
	wal int64
}

// meter reads what the bench's backends have spent so far.
func meter(ctx context.Context, pool *pgxpool.Pool) (cost, error) {
	c := cost{cpu: map[int]time.Duration{}}
	if err := pool.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&c.wal); err != nil {
		return c, err
	}
	rows, err := pool.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE application_name = 'schemabench'")
	if err != nil {
		return c, err
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	for _, pid := range pids {
		c.cpu[pid] = cpuOf(pid)
	}
	return c, err
}

// cpuOf is the processor time of a process of this machine, as Linux tells
// it; 0 elsewhere.
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var state string
	var skip [10]int64
	var user, system int64
	_, err = fmt.Sscan(rest, &state, &skip[0], &skip[1], &skip[2], &skip[3], &skip[4], &skip[5], &skip[6], &skip[7], &skip[8], &skip[9], &user, &system)
	if err != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// metered runs work and tells what a row cost; work returns how many.
func metered(ctx context.Context, pool *pgxpool.Pool, work func() (rows int, err error)) (string, error) {
	before, err := meter(ctx, pool)
	if err != nil {
		return "", err
	}
	rows, err := work()
	if err != nil {
		return "", err
	}
	after, err := meter(ctx, pool)
	var cpu time.Duration
	for pid, spent := range after.cpu {
		cpu += spent - before.cpu[pid]
	}
	return fmt.Sprintf("%6.1f µs of CPU and %5.0f bytes of WAL a row", float64(cpu.Microseconds())/float64(max(rows, 1)),
		float64(after.wal-before.wal)/float64(max(rows, 1))), err
}
