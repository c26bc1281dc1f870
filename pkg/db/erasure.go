package db

import (
	"context"
	"fmt"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Recipient is what there is of a recipient.
type Recipient struct {
	Messages int64
	Open     int64 // of them, not yet final
	Attempts int64
}

// CountRecipient returns what there is of a recipient.
func (s *Store) CountRecipient(ctx context.Context, recipient string) (Recipient, error) {
	row, err := s.queries.CountRecipient(ctx, recipient, texts(finalStatuses()))
	if err != nil {
		return Recipient{}, fmt.Errorf("count a recipient's messages: %w", err)
	}
	return Recipient(row), nil
}

// Erased is what a batch of an erasure did.
type Erased struct {
	Messages []message.Message // as they were
	Attempts int64
	OutboxID int64 // to publish; 0 for none
}

// Erase deletes at most limit messages to a recipient, whatever their state,
// with their attempts. box gets those that were not yet final. before is called
// with all of them ahead of the commit, and its error leaves them there: what
// is kept of them elsewhere can't be found any more without them. Messages
// that are just being moved are left for a later call: only when HasRecipient
// says so is none left.
func (s *Store) Erase(ctx context.Context, recipient string, limit int, box Box, before func(context.Context, []message.ID) error) (Erased, error) {
	var erased Erased
	err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
		rows, err := q.EraseMessages(ctx, recipient, int32(limit))
		if err != nil {
			return err
		}
		erased = Erased{Messages: toMessages(rows)}
		ids := make([]message.ID, len(rows))
		var open []message.Message
		for i, m := range erased.Messages {
			if ids[i] = m.ID; !m.Status.Final() {
				open = append(open, m)
			}
		}
		if erased.Attempts, err = q.EraseAttempts(ctx, ids); err != nil {
			return err
		}
		if erased.OutboxID, err = put(ctx, q, open, box); err != nil {
			return err
		}
		return before(ctx, ids)
	})
	if err != nil {
		return Erased{}, fmt.Errorf("erase a recipient's messages: %w", err)
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

// outboxPage is how many outbox rows are rewritten in one transaction.
const outboxPage = 50

// RewriteOutbox has every outbox row that is not yet published rewritten;
// rewrite returns false for one that is to stay as it is, and must not block.
// Rows that a dispatcher is publishing at this moment are passed over.
func (s *Store) RewriteOutbox(ctx context.Context, rewrite func(batch []byte) ([]byte, bool)) error {
	for after, n := int64(0), outboxPage; n == outboxPage; {
		err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
			rows, err := q.LockOutbox(ctx, after, outboxPage)
			if err != nil {
				return err
			}
			n = len(rows)
			for _, row := range rows {
				after = row.ID
				batch, changed := rewrite(row.Batch)
				if !changed {
					continue
				}
				if err := q.RewriteOutbox(ctx, batch, row.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("rewrite outbox: %w", err)
		}
	}
	return nil
}
