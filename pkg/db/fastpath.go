package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// fastPathLock is an advisory lock. Transactions that use the fast path share it,
// and a transaction that changes the schedule holds it alone.
const fastPathLock int64 = 7_235_441_202_855_961_448

// tryFastPath is sent with BEGIN, before messages are inserted. A transaction
// that stops the schedule, or gives it an interval, waits for all that hold this
// lock. A transaction that comes later sees that change in its next statement.
var tryFastPath = fmt.Sprintf("select set_config('dispatch.fast_path', pg_try_advisory_xact_lock_shared(%d)::text, true)", fastPathLock)

// InsertFastPath is Insert and also claims the messages that are due, as a tick
// would, if the mode is continuous and the last tick left nothing due behind. No
// tick is needed for them. Claimed messages are QUEUED for encode and in the
// results.
//
// at is the time of Postgres as far as the caller knows. If the whole group is
// due at that time, and the previous call could claim, one round trip is enough.
// encode may be called a second time; then only its second result is stored.
func (s *Store) InsertFastPath(ctx context.Context, at time.Time, group []message.Message, encode EncodeOutbox) ([]InsertResult, int64, error) {
	var claimed []message.Message
	if s.fastPathOpen.Load() {
		claimed = claimedAt(at, group)
	}
	if len(claimed) > 0 {
		outboxID, err := s.insertFastPath(ctx, claimed, encode)
		switch {
		case err == nil:
			return allCreated(claimed), outboxID, nil
		case errors.Is(err, errFastPathClosed):
			s.fastPathOpen.Store(false)
		case dbpool.Unavailable(err):
			return nil, 0, err
		} // otherwise a message of the group may exist already
	}
	results, outboxID, err := s.insert(ctx, []string{tryFastPath}, group, encode)
	for _, r := range results {
		if r.Created && r.Message.Status == message.Queued {
			s.fastPathOpen.Store(true)
			break
		}
	}
	return results, outboxID, err
}

// claimedAt returns the group as it is when all of it is claimed at that time.
// It returns nil if that is not certain: a message is not due, or has an
// idempotency key that may exist already.
func claimedAt(at time.Time, group []message.Message) []message.Message {
	at = at.UTC().Truncate(time.Microsecond)
	claimed := make([]message.Message, len(group))
	for i, m := range group {
		if m.IdempotencyKey != "" || m.Destination != message.DefaultDestination || m.DeliverAt.After(at) ||
			m.ExpiresAt != nil && !m.ExpiresAt.After(at) {
			return nil
		}
		m.Status, m.Version, m.ClaimNumber = message.Queued, 2, 1
		m.CreatedAt, m.UpdatedAt, m.DeliverAt, m.QueuedAt = m.ID.Time().Truncate(time.Microsecond), at, at, &at
		claimed[i] = m
	}
	return claimed
}

func allCreated(messages []message.Message) []InsertResult {
	results := make([]InsertResult, len(messages))
	for i, m := range messages {
		results[i] = InsertResult{Message: m, Created: true}
	}
	return results
}

func (s *Store) insertFastPath(ctx context.Context, group []message.Message, encode EncodeOutbox) (outboxID int64, err error) {
	given := insertParams(group)
	params := dbsqlc.InsertFastPathParams{
		At: group[0].UpdatedAt, Destination: message.DefaultDestination, Batch: encode(group),
		Ids: given.Ids, CreatedAts: given.CreatedAts, ExpiresAts: given.ExpiresAts, Priorities: given.Priorities,
		Recipients: given.Recipients, Contents: given.Contents, Payloads: given.Payloads, Types: given.Types,
		Metadatas: given.Metadatas, BodyHashes: given.BodyHashes, Traceparents: given.Traceparents, Tracestates: given.Tracestates,
	}
	err = dbpool.InTx(ctx, s.pool, []string{tryFastPath}, func(_, last *dbsqlc.Queries) error {
		outboxID, err = last.InsertFastPath(ctx, params)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errFastPathClosed
	}
	if err != nil {
		return 0, fmt.Errorf("insert %d messages: %w", len(group), err)
	}
	return outboxID, nil
}
