package db

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// PublishDeadline is how long after the start of its transaction the owner of an
// outbox row may publish it. Later it must not: a relay may have taken the row.
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
	// Again is when the rest is tried again; 0: by the next round.
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

// keep deletes rows that are done with, and keeps the rest of the others.
func keep(ctx context.Context, q *dbsqlc.Queries, rests []RelayResult) error {
	var done []int64
	kept := map[time.Duration][]RelayResult{}
	for _, rest := range rests {
		if rest.Remaining == nil {
			done = append(done, rest.ID)
			continue
		}
		kept[rest.RetryAfter] = append(kept[rest.RetryAfter], rest)
	}
	for again, rests := range kept {
		ids, batches := make([]int64, len(rests)), make([][]byte, len(rests))
		for i, rest := range rests {
			ids[i], batches[i] = rest.ID, rest.Remaining
		}
		if err := q.KeepRemainders(ctx, set(again), ids, batches); err != nil {
			return fmt.Errorf("keep the rest of %d outbox rows: %w", len(ids), err)
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
