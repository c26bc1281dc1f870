package db

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// PublishDeadline is how long after the start of its transaction the owner of an
// outbox row may publish it. After that a relay may have taken the row over.
const PublishDeadline = 5 * time.Second

// OutboxRow is an outbox row of events that its owner did not publish in time.
type OutboxRow struct {
	ID    int64
	Batch []byte
}

// RelayResult is what became of an outbox row of events.
type RelayResult struct {
	ID        int64
	Remaining []byte // what is still to be published; nil: nothing, the row is done with
	// Again is when the result is tried again; 0: by the next round.
	RetryAfter time.Duration
}

// RelayParams say which rows a relay looks at.
type RelayParams struct {
	Age           time.Duration // those that are older
	MaxRetryAfter time.Duration // the longest Again that a Rest has
	After         int64         // those whose id is higher
	Limit         int           // this many at most
}

// RelayPage is what a relay did.
type RelayPage struct {
	Rows int   // looked at
	More bool  // there are others behind those
	Last int64 // the highest id of those; 0 for none
}

// Relay locks outbox rows of events that their owners left behind, oldest first,
// and hands them to publish, which says what became of them; a row that it does
// not mention stays as it is. Rows that another dispatcher is relaying are
// passed over. They stay locked meanwhile, so publish must return within 5 s:
// then the database ends the transaction. It begins where OutboxBacklog last
// found rows.
func (s *Store) Relay(ctx context.Context, p RelayParams, publish func(context.Context, []OutboxRow) []RelayResult) (RelayPage, error) {
	var relayed RelayPage
	err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
		relayed = RelayPage{}
		rows, err := q.LockAbandonedEvents(ctx, dbsqlc.LockAbandonedEventsParams{After: max(p.After, s.outbox.watermark()-1), Age: p.Age, RetryAfter: p.MaxRetryAfter, BatchLimit: int32(p.Limit), BytesLimit: outboxPageBytes})
		if err != nil {
			return fmt.Errorf("look for abandoned outbox rows: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		relayed.Rows, relayed.Last = len(rows), rows[len(rows)-1].ID
		relayed.More = rows[0].Found == int64(p.Limit) || rows[0].Found > int64(len(rows))
		abandoned := make([]OutboxRow, len(rows))
		for i, row := range rows {
			abandoned[i] = OutboxRow{ID: row.ID, Batch: row.Batch}
		}
		return keep(ctx, q, publish(ctx, abandoned))
	})
	if err != nil {
		return RelayPage{}, fmt.Errorf("relay: %w", err)
	}
	return relayed, nil
}

// keep deletes rows that are done with, and keeps the result of the others.
func keep(ctx context.Context, q *dbsqlc.Queries, results []RelayResult) error {
	var done []int64
	kept := map[time.Duration][]RelayResult{}
	for _, result := range results {
		if result.Remaining == nil {
			done = append(done, result.ID)
			continue
		}
		kept[result.RetryAfter] = append(kept[result.RetryAfter], result)
	}
	for again, results := range kept {
		ids, batches := make([]int64, len(results)), make([][]byte, len(results))
		for i, result := range results {
			ids[i], batches[i] = result.ID, result.Remaining
		}
		if err := q.KeepRemainders(ctx, set(again), ids, batches); err != nil {
			return fmt.Errorf("keep the result of %d outbox rows: %w", len(ids), err)
		}
	}
	if err := q.DeletePublished(ctx, done); err != nil {
		return fmt.Errorf("delete %d outbox rows: %w", len(done), err)
	}
	return nil
}

// DeletePublished deletes outbox rows whose entries are published. It leaves
// alone the claims of ticks, which FinishClaim ends, and those that a relay has
// taken.
func (s *Store) DeletePublished(ctx context.Context, ids []int64) error {
	if err := s.queries.DeletePublished(ctx, ids); err != nil {
		return fmt.Errorf("delete %d outbox rows: %w", len(ids), err)
	}
	return nil
}

// InsertOutboxEvents writes an outbox row of events that could not be published, for a
// relay to publish later.
func (s *Store) InsertOutboxEvents(ctx context.Context, batch []byte) error {
	if _, err := s.queries.InsertOutbox(ctx, batch, false); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	return nil
}

// backlogShare limits measuring the outbox to a 20th of the time.
const backlogShare = 20

// backlog is the last measurement of the outbox. The zero value is ready. It is safe
// for concurrent use.
//
// It spares the relay from reading dead rows, which Postgres cannot remove while
// anything holds an old snapshot. A relay that starts at the lowest id would read
// all of them each second: 48 ms for half a million.
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
