package db

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// DeletedBatch is what a step of the retention did.
type DeletedBatch struct {
	Busy     bool       // another dispatcher is at it: nothing was done
	Seen     int        // messages that the step looked at; less than its limit: it was the last
	Last     message.ID // the last of them
	Messages int        // deleted
	Attempts int        // deleted with them
}

// DeletePastRetention looks at the next limit messages after an id, the zero ID at
// first, and deletes those that have been in a final state for longer than
// the retention, by Postgres' clock, with their attempts. It looks at none
// that were created later than that: those can't be past it.
func (s *Store) DeletePastRetention(ctx context.Context, retention time.Duration, after message.ID, limit int) (DeletedBatch, error) {
	var deleted DeletedBatch
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		locked, err := q.LockRetention(ctx)
		if err != nil || !locked {
			deleted = DeletedBatch{Busy: true, Last: after}
			return err
		}
		row, err := q.DeletePastRetention(ctx, dbsqlc.DeletePastRetentionParams{
			After: after, Before: message.FirstID(time.Now().Add(-retention)), StepLimit: int32(limit),
			Final: texts(finalStatuses()), Retention: retention,
		})
		deleted = DeletedBatch{Seen: int(row.Seen), Last: row.Last, Messages: len(row.Messages)}
		if err != nil || len(row.Messages) == 0 {
			return err
		}
		attempts, err := last.EraseAttempts(ctx, row.Messages)
		if err != nil {
			return fmt.Errorf("delete their attempts: %w", err)
		}
		deleted.Attempts = int(attempts)
		return nil
	})
	if err != nil {
		return DeletedBatch{}, fmt.Errorf("delete what is past its retention, after %s: %w", after, err)
	}
	return deleted, nil
}

// DeleteOrphanedAttempts looks at the attempts of the next limit messages after an id,
// the zero ID at first, and deletes those whose message is gone. Record leaves
// none; earlier releases could, and so can somebody who deletes messages by
// hand.
func (s *Store) DeleteOrphanedAttempts(ctx context.Context, after message.ID, limit int) (DeletedBatch, error) {
	var deleted DeletedBatch
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		locked, err := q.LockRetention(ctx)
		if err != nil || !locked {
			deleted = DeletedBatch{Busy: true, Last: after}
			return err
		}
		row, err := last.DeleteOrphanedAttempts(ctx, after, int32(limit))
		deleted = DeletedBatch{Seen: int(row.Seen), Last: row.Last, Attempts: int(row.Attempts)}
		return err
	})
	if err != nil {
		return DeletedBatch{}, fmt.Errorf("delete attempts without a message, after %s: %w", after, err)
	}
	return deleted, nil
}

func finalStatuses() (final []message.Status) {
	for _, status := range message.Statuses() {
		if status.Final() {
			final = append(final, status)
		}
	}
	return final
}
