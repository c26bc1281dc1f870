package db

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// RecipientCounts is what there is of a recipient.
type RecipientCounts struct {
	Messages int64
	Open     int64 // of them, not yet final
	Attempts int64
}

// CountRecipient returns what there is of a recipient.
func (s *Store) CountRecipient(ctx context.Context, recipient string) (RecipientCounts, error) {
	row, err := s.queries.CountRecipient(ctx, recipient, texts(finalStatuses()))
	if err != nil {
		return RecipientCounts{}, fmt.Errorf("count a recipient's messages: %w", err)
	}
	return RecipientCounts(row), nil
}

// ErasedBatch is what a batch of an erasure did.
type ErasedBatch struct {
	Messages []message.Message // as they were, but for what they carried
	Attempts int64
	OutboxID int64 // to publish; 0 for none
}

// EraseBatch deletes at most limit messages to a recipient, whatever their state,
// with their attempts. box gets them as they were. before is called
// with their ids ahead of the commit, and its error leaves them there: what
// is kept of them elsewhere can't be found any more without them. Messages
// that are just being moved are left for a later call: only when HasRecipient
// says so is none left.
func (s *Store) EraseBatch(ctx context.Context, recipient string, limit int, encode EncodeOutbox, before func(context.Context, []message.ID) error) (ErasedBatch, error) {
	var erased ErasedBatch
	err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
		rows, err := q.EraseMessages(ctx, recipient, int32(limit))
		if err != nil {
			return err
		}
		erased = ErasedBatch{Messages: eventMessages(rows)}
		ids := make([]message.ID, len(rows))
		for i, m := range erased.Messages {
			ids[i] = m.ID
		}
		if erased.Attempts, err = q.EraseAttempts(ctx, ids); err != nil {
			return err
		}
		if erased.OutboxID, err = writeOutbox(ctx, q, erased.Messages, encode); err != nil {
			return err
		}
		return before(ctx, ids)
	})
	if err != nil {
		return ErasedBatch{}, fmt.Errorf("erase a recipient's messages: %w", err)
	}
	return erased, nil
}

// HasRecipient reports whether there is a message to a recipient.
func (s *Store) HasRecipient(ctx context.Context, recipient string) (bool, error) {
	has, err := s.queries.HasRecipient(ctx, recipient)
	if err != nil {
		return false, fmt.Errorf("look for a recipient's messages: %w", err)
	}
	return has, nil
}

// outboxPage is how many outbox rows are rewritten in one transaction, and
// outboxPageBytes from how many bytes on the rest waits for the next.
const (
	outboxPage      = 50
	outboxPageBytes = 4 << 20
)

// Rewrite makes of an outbox row's batch what is to stand there instead; false
// if it is to stay as it is. It must not block.
type Rewrite func(batch []byte) ([]byte, bool)

// RewriteOutbox has every outbox row rewritten that lies behind another and is
// there when it begins; 0 is before the first. It waits for rows that are being
// published at this moment. With an error it returns the row behind which a
// later call goes on.
func (s *Store) RewriteOutbox(ctx context.Context, after int64, rewrite Rewrite) (done int64, err error) {
	last, err := s.queries.LastOutboxID(ctx)
	if err != nil {
		return after, fmt.Errorf("rewrite outbox: %w", err)
	}
	for after < last {
		end, err := s.rewritePage(ctx, after, last, rewrite)
		if err != nil {
			return after, fmt.Errorf("rewrite outbox after %d: %w", after, err)
		}
		after = end
	}
	return after, nil
}

// rewritePage rewrites a page, and then by itself each row of it that was
// locked: to wait for one while others are locked could end in a deadlock.
func (s *Store) rewritePage(ctx context.Context, after, last int64, rewrite Rewrite) (end int64, err error) {
	seen := map[int64]bool{}
	end = last
	err = s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
		rows, err := q.LockOutbox(ctx, dbsqlc.LockOutboxParams{After: after, Last: last, BatchLimit: outboxPage, BytesLimit: outboxPageBytes})
		if err != nil {
			return err
		}
		for _, row := range rows {
			seen[row.ID] = true
			if err := rewriteRow(ctx, q, row.ID, row.Batch, rewrite); err != nil {
				return err
			}
		}
		if n := len(rows); n > 0 && (rows[0].Found == outboxPage || rows[0].Found > int64(n)) {
			end = rows[n-1].ID
		}
		return nil
	})
	if err != nil {
		return after, err
	}
	ids, err := s.queries.OutboxBetween(ctx, after, end)
	if err != nil {
		return after, err
	}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
			batches, err := q.LockOutboxRow(ctx, id)
			if err != nil || len(batches) == 0 {
				return err
			}
			return rewriteRow(ctx, q, id, batches[0], rewrite)
		})
		if err != nil {
			return after, err
		}
	}
	return end, nil
}

func rewriteRow(ctx context.Context, q *dbsqlc.Queries, id int64, batch []byte, rewrite Rewrite) error {
	rewritten, changed := rewrite(batch)
	if !changed {
		return nil
	}
	return q.RewriteOutbox(ctx, rewritten, id)
}

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
