package db

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// A complete fold reads all rows of the counts, including dead ones. It runs every
// completeFoldEvery, or less often if it takes long.
const (
	completeFoldEvery = time.Minute
	completeFoldShare = 20
)

// counts remembers where the live rows of status_counts begin. The zero value
// is ready and begins at the start. It is safe for concurrent use.
//
// Statements only add rows, and a fold replaces the rows that it sees by their
// sums. While somebody holds an old snapshot, Postgres keeps the dead rows, and
// whoever reads from the start reads all of them. The watermark is exact: a row
// below it was seen, and deleted, by a fold. Only a Postgres that went back in
// time (a restore, a lost commit) can have live rows below; the next complete
// fold finds those.
type counts struct {
	mu       sync.Mutex
	from     countsWatermark
	complete time.Time // when the last complete fold began
	took     time.Duration
}

// countsWatermark says which transactions can have written live rows: those
// from first on, and those listed, which were not yet committed at the fold.
type countsWatermark struct {
	first       uint64
	uncommitted []string
}

// read returns the number of messages by status, all of them named.
func (c *counts) read(ctx context.Context, q *dbsqlc.Queries) (map[message.Status]int64, error) {
	c.mu.Lock()
	from := c.from
	c.mu.Unlock()
	rows, err := q.CountByStatus(ctx, strconv.FormatUint(from.first, 10), from.uncommitted)
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	byStatus := make(map[message.Status]int64, len(message.Statuses()))
	for _, status := range message.Statuses() {
		byStatus[status] = 0
	}
	for _, row := range rows {
		byStatus[row.Status] = row.N
	}
	if len(rows) > 0 {
		return byStatus, c.raise(rows[0].NextWatermark, rows[0].NextUncommitted)
	}
	return byStatus, nil
}

// raise moves the watermark up to what a statement saw. One that is overtaken
// by another moves nothing.
func (c *counts) raise(first string, uncommitted []string) error {
	number, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return fmt.Errorf("read watermark of counts: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if number > c.from.first {
		c.from = countsWatermark{first: number, uncommitted: uncommitted}
	}
	return nil
}

// fold replaces the rows by their sums.
func (c *counts) fold(ctx context.Context, q *dbsqlc.Queries) error {
	began := time.Now()
	c.mu.Lock()
	complete := began.Sub(c.complete) >= max(completeFoldEvery, completeFoldShare*c.took)
	from := c.from
	if complete {
		from = countsWatermark{}
	}
	c.mu.Unlock()
	row, err := q.FoldCounts(ctx, strconv.FormatUint(from.first, 10), from.uncommitted)
	if complete {
		c.mu.Lock()
		c.complete, c.took = began, time.Since(began)
		if err == nil {
			c.from = countsWatermark{} // after a restore it may be too high
		}
		c.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("fold counts: %w", err)
	}
	return c.raise(row.Watermark, row.Uncommitted)
}

// FoldCounts sums up what the counts have gathered since the last time.
func (s *Store) FoldCounts(ctx context.Context) error {
	return s.counts.fold(ctx, s.queries)
}
