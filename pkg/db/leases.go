package db

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ExpiredLeases returns at most limit messages whose lease expired, the oldest
// first, that come after the given one; the zero value is before all.
func (s *Store) ExpiredLeases(ctx context.Context, after ExpiredLease, limit int) ([]ExpiredLease, error) {
	rows, err := s.queries.ExpiredLeases(ctx, after.LeaseUntil, after.ID, int32(limit))
	if err != nil {
		return nil, fmt.Errorf("look for lost leases: %w", err)
	}
	lost := make([]ExpiredLease, len(rows))
	for i, row := range rows {
		lost[i] = ExpiredLease{
			ID: row.ID, Destination: row.Destination, ClaimNumber: row.ClaimNumber, ClaimsWithoutOutcome: int(row.ClaimsWithoutOutcome), LeaseUntil: row.LeaseUntil, Age: row.Age,
		}
	}
	return lost, nil
}

// RenewLeases gives a new lease to messages that are still in flight.
func (s *Store) RenewLeases(ctx context.Context, lost []ExpiredLease, lease time.Duration) error {
	err := s.queries.RenewLeases(ctx, lease, leaseIDs(lost), leaseClaimNumbers(lost))
	if err != nil {
		return fmt.Errorf("renew %d leases: %w", len(lost), err)
	}
	return nil
}

// GiveUp changes messages to FAILED whose claims never led to an outcome. It leaves
// some to a later call if their events contain their content. It returns the
// changed ones and the outbox row to publish, 0 for none.
func (s *Store) GiveUp(ctx context.Context, lost []ExpiredLease, encode EncodeOutbox) (moved []message.Message, outboxID int64, err error) {
	err = s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		lost = lost[:min(len(lost), s.atOnce(len(lost)))]
		rows, err := q.GiveUp(ctx, dbsqlc.GiveUpParams{WithContent: s.content, FromStatuses: texts(message.Fail.From), Ids: leaseIDs(lost), ClaimNumbers: leaseClaimNumbers(lost)})
		if err != nil {
			return fmt.Errorf("give up %d messages: %w", len(lost), err)
		}
		moved = eventMessages(rows)
		outboxID, err = writeOutbox(ctx, last, moved, encode)
		return err
	})
	return moved, outboxID, err
}

// ExpireDue changes at most limit PENDING messages to EXPIRED whose expiry has
// passed, fewer if their events contain their content. It returns them and the
// outbox row to publish, 0 for none.
func (s *Store) ExpireDue(ctx context.Context, limit int, encode EncodeOutbox) (moved []message.Message, outboxID int64, err error) {
	err = s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		rows, err := q.ExpireDue(ctx, texts(message.Expire.From), int32(s.atOnce(limit)), s.content)
		if err != nil {
			return fmt.Errorf("expire messages: %w", err)
		}
		moved = eventMessages(rows)
		outboxID, err = writeOutbox(ctx, last, moved, encode)
		return err
	})
	return moved, outboxID, err
}
