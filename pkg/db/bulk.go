package db

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// RedriveFilter narrows a bulk retry; a zero field does not filter.
type RedriveFilter struct {
	Statuses      []message.Status // of those that a retry leads on from; none for all of them
	Destination   string
	CreatedAfter  *time.Time // inclusive
	CreatedBefore *time.Time // exclusive
}

func (r RedriveFilter) before() []string {
	if len(r.Statuses) == 0 {
		return texts(message.Redrive.From)
	}
	allowed := make([]message.Status, 0, len(r.Statuses))
	for _, status := range r.Statuses {
		if message.Redrive.Allows(status) {
			allowed = append(allowed, status)
		}
	}
	return texts(allowed)
}

// CountRedrivable returns how many messages a bulk retry would move now.
func (s *Store) CountRedrivable(ctx context.Context, r RedriveFilter) (int64, error) {
	count, err := s.queries.CountRedrivable(ctx, dbsqlc.CountRedrivableParams{
		FromStatuses: r.before(), Destination: set(r.Destination), CreatedAfter: r.CreatedAfter, CreatedBefore: r.CreatedBefore,
	})
	if err != nil {
		return 0, fmt.Errorf("count messages to retry: %w", err)
	}
	return count, nil
}

// RedriveBatch is Retry, without an expiry, for at most limit messages that lie
// beyond an id, the zero ID for the first batch. It returns those that it moved
// and the id behind which the next batch begins; fewer than limit are the
// last. Messages that are being moved by somebody else are left out.
func (s *Store) RedriveBatch(ctx context.Context, r RedriveFilter, after message.ID, limit int) (moved []message.ID, last message.ID, err error) {
	ids, err := s.queries.RedriveMessages(ctx, dbsqlc.RedriveMessagesParams{
		FromStatuses: r.before(), After: after, Destination: set(r.Destination),
		CreatedAfter: r.CreatedAfter, CreatedBefore: r.CreatedBefore, BatchLimit: int32(limit),
	})
	if err != nil {
		return nil, after, fmt.Errorf("retry messages after %s: %w", after, err)
	}
	for _, id := range ids {
		if bytes.Compare(id[:], after[:]) > 0 {
			after = id
		}
	}
	return ids, after, nil
}
