package db

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// backlogShare keeps the measuring of the outbox to that share of the time.
const backlogShare = 20

// backlog is what the outbox held when it was measured last. The zero value is
// ready. It is safe for concurrent use.
//
// It keeps the relay from reading dead rows. Postgres can't remove those while
// somebody holds an old snapshot, and from the lowest id on a relay that finds
// nothing would look at all of them, each second: 48 ms for half a million.
type backlog struct {
	mu     sync.Mutex
	row    dbsqlc.OutboxBacklogRow
	from   int64 // where live rows begin
	before int64 // the highest id at the measurement before
	began  time.Time
	took   time.Duration
}

// watermark is the id from which on there may be rows. One that is committed
// later than the next measurement and lies below waits for the one after it.
func (b *backlog) watermark() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.from
}

// measure looks at the outbox, or returns what the last look found if that took
// so long that it is too early for another.
func (b *backlog) measure(ctx context.Context, q *dbsqlc.Queries) (dbsqlc.OutboxBacklogRow, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	began := time.Now()
	if began.Sub(b.began) < backlogShare*b.took {
		return b.row, nil
	}
	row, err := q.OutboxBacklog(ctx)
	b.began, b.took = began, time.Since(began)
	if err != nil {
		return row, fmt.Errorf("measure outbox: %w", err)
	}
	b.row = row
	// Ids that were given out before the last measurement are committed by now,
	// or are among the rows: their transactions take seconds.
	b.from = b.before + 1
	if row.Batches > 0 {
		b.from = min(row.FirstID, b.from)
	}
	b.before = row.LastID
	return row, nil
}

// OutboxBacklog tells how many outbox rows wait, and how old the oldest is. On
// an outbox with many dead rows the answer may be some seconds old.
func (s *Store) OutboxBacklog(ctx context.Context) (rows int64, oldest time.Duration, err error) {
	row, err := s.outbox.measure(ctx, s.queries)
	if err != nil {
		return 0, 0, err
	}
	return row.Batches, seconds(row.OldestSeconds), nil
}
