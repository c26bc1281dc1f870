package db

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// InsertResult is what became of one message of an Insert.
type InsertResult struct {
	Message message.Message // as stored: under a known idempotency key, the first one
	Created bool            // false: there was one under its id or key already
}

// Insert stores a group of new messages in one transaction and announces
// those that are new. The results are in the group's order. A message whose
// idempotency key or id is known yields the first one; the caller compares
// BodyHash. It returns the outbox row to publish, 0 for none.
func (s *Store) Insert(ctx context.Context, group []message.Message, box EncodeOutbox) ([]InsertResult, int64, error) {
	return s.insert(ctx, nil, group, box)
}

// arrivalsLock is the advisory lock of those who emit on arrival, who share it,
// and of whoever changes the pace, who takes it alone.
const arrivalsLock int64 = 7_235_441_202_855_961_448

// tryArrivals travels with BEGIN, before messages are inserted. Whoever stops
// the pace, or gives it an interval, waits for all who hold this lock; who
// comes after them sees in the next statement what they wrote.
var tryArrivals = fmt.Sprintf("select set_config('dispatch.fast_path', pg_try_advisory_xact_lock_shared(%d)::text, true)", arrivalsLock)

// InsertFastPath is Insert, and claims as a tick would what is due, for box to
// emit it with the rest: if the pace is continuous, and the last tick left
// nothing behind. What is claimed is QUEUED in box and in the results. At is
// what Postgres' clock says, as far as the caller knows: if all of a group is
// due then, and it went well with the last, one round trip does. Box may be
// called a second time, and only that counts then.
func (s *Store) InsertFastPath(ctx context.Context, at time.Time, group []message.Message, box EncodeOutbox) ([]InsertResult, int64, error) {
	var arrived []message.Message
	if s.open.Load() {
		arrived = arrivals(at, group)
	}
	if len(arrived) > 0 {
		outboxID, err := s.insertArrived(ctx, arrived, box)
		switch {
		case err == nil:
			return allNew(arrived), outboxID, nil
		case errors.Is(err, errFastPathClosed):
			s.open.Store(false)
		case dbpool.Unavailable(err):
			return nil, 0, err
		} // else one of them may be there already
	}
	results, outboxID, err := s.insert(ctx, []string{tryArrivals}, group, box)
	for _, r := range results {
		if r.Created && r.Message.Status == message.Queued {
			s.open.Store(true)
			break
		}
	}
	return results, outboxID, err
}

// arrivals returns a group as it is when all of it is claimed at a time, and
// none if that can't be told beforehand: of what has an idempotency key, there
// may be a first.
func arrivals(at time.Time, group []message.Message) []message.Message {
	at = at.UTC().Truncate(time.Microsecond)
	arrived := make([]message.Message, len(group))
	for i, m := range group {
		if m.IdempotencyKey != "" || m.Destination != message.DefaultDestination || m.DeliverAt.After(at) ||
			m.ExpiresAt != nil && !m.ExpiresAt.After(at) {
			return nil
		}
		m.Status, m.Version, m.ClaimNumber = message.Queued, 2, 1
		m.CreatedAt, m.UpdatedAt, m.DeliverAt, m.QueuedAt = m.ID.Time().Truncate(time.Microsecond), at, at, &at
		arrived[i] = m
	}
	return arrived
}

func allNew(messages []message.Message) []InsertResult {
	results := make([]InsertResult, len(messages))
	for i, m := range messages {
		results[i] = InsertResult{Message: m, Created: true}
	}
	return results
}

func (s *Store) insertArrived(ctx context.Context, arrived []message.Message, box EncodeOutbox) (outboxID int64, err error) {
	given := insertParams(arrived)
	params := dbsqlc.InsertFastPathParams{
		At: arrived[0].UpdatedAt, Destination: message.DefaultDestination, Batch: box(arrived),
		Ids: given.Ids, CreatedAts: given.CreatedAts, ExpiresAts: given.ExpiresAts, Priorities: given.Priorities,
		Recipients: given.Recipients, Contents: given.Contents, Payloads: given.Payloads, Types: given.Types,
		Metadatas: given.Metadatas, BodyHashes: given.BodyHashes, Traceparents: given.Traceparents, Tracestates: given.Tracestates,
	}
	err = dbpool.InTx(ctx, s.pool, []string{tryArrivals}, func(_, last *dbsqlc.Queries) error {
		outboxID, err = last.InsertFastPath(ctx, params)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errFastPathClosed
	}
	if err != nil {
		return 0, fmt.Errorf("insert %d messages: %w", len(arrived), err)
	}
	return outboxID, nil
}

func (s *Store) insert(ctx context.Context, opening []string, group []message.Message, box EncodeOutbox) ([]InsertResult, int64, error) {
	var outboxID int64
	results := make([]InsertResult, len(group))
	err := dbpool.InTx(ctx, s.pool, opening, func(q, last *dbsqlc.Queries) error {
		rows, err := q.InsertMessages(ctx, insertParams(group))
		if err != nil {
			return fmt.Errorf("insert %d messages: %w", len(group), err)
		}
		emits := false
		created := make([]message.Message, 0, len(rows))
		fresh := make(map[message.ID]dbsqlc.InsertMessagesRow, len(rows))
		for _, row := range rows {
			fresh[row.ID] = row
		}
		for i, m := range group {
			row, ok := fresh[m.ID]
			if !ok {
				continue
			}
			m.Status, m.Version = row.Status, 1
			m.CreatedAt, m.UpdatedAt, m.DeliverAt = row.CreatedAt, row.UpdatedAt, row.DeliverAt
			if row.Status == message.Queued {
				m.Version, m.ClaimNumber, m.QueuedAt = 2, 1, row.QueuedAt
				emits = true
			}
			results[i] = InsertResult{Message: m, Created: true}
			created = append(created, m)
			delete(fresh, m.ID) // the same id twice in a group is stored once
		}
		if len(created) == len(group) {
			outboxID, err = putArrived(ctx, last, created, emits, box)
			return err
		}
		if outboxID, err = putArrived(ctx, q, created, emits, box); err != nil {
			return err
		}
		return s.findFirsts(ctx, q, group, results)
	})
	if err != nil {
		return nil, 0, err
	}
	return results, outboxID, nil
}

// findFirsts fills in, for each message that was not inserted, the one that
// was there before.
func (s *Store) findFirsts(ctx context.Context, q *dbsqlc.Queries, group []message.Message, results []InsertResult) error {
	type key struct{ scope, key string }
	byKey := map[key]message.Message{}
	byID := map[message.ID]message.Message{}

	var scopes, keys []string
	var ids []message.ID
	for i, m := range group {
		if results[i].Created {
			continue
		}
		ids = append(ids, m.ID)
		if m.IdempotencyKey != "" {
			scopes, keys = append(scopes, m.Scope), append(keys, m.IdempotencyKey)
		}
	}
	rows, err := q.MessagesByKey(ctx, scopes, keys)
	if err != nil {
		return fmt.Errorf("look up idempotency keys: %w", err)
	}
	known, err := q.MessagesByID(ctx, ids)
	if err != nil {
		return fmt.Errorf("look up messages: %w", err)
	}
	for _, first := range append(firstMessages(rows), firstMessages(known)...) {
		byKey[key{first.Scope, first.IdempotencyKey}] = first
		byID[first.ID] = first
	}
	for i, m := range group {
		if results[i].Created {
			continue
		}
		first, ok := byID[m.ID]
		if ok { // the message itself, stored before
			first.Content, first.Payload, first.Metadata, first.Trace = m.Content, m.Payload, m.Metadata, m.Trace
		} else {
			first, ok = byKey[key{m.Scope, m.IdempotencyKey}]
		}
		if !ok {
			return fmt.Errorf("message %s was neither inserted nor found", m.ID)
		}
		results[i] = InsertResult{Message: first}
	}
	return nil
}

// FindByIdempotencyKey returns, for each message of a group, the one that is stored under its
// idempotency key, without what it carries; nil where there is none.
func (s *Store) FindByIdempotencyKey(ctx context.Context, group []message.Message) ([]*message.Message, error) {
	type key struct{ scope, key string }
	var scopes, keys []string
	for _, m := range group {
		scopes, keys = append(scopes, m.Scope), append(keys, m.IdempotencyKey)
	}
	rows, err := s.queries.MessagesByKey(ctx, scopes, keys)
	if err != nil {
		return nil, fmt.Errorf("look up idempotency keys: %w", err)
	}
	byKey := map[key]*message.Message{}
	for _, m := range firstMessages(rows) {
		byKey[key{m.Scope, m.IdempotencyKey}] = &m
	}
	firsts := make([]*message.Message, len(group))
	for i, m := range group {
		firsts[i] = byKey[key{m.Scope, m.IdempotencyKey}]
	}
	return firsts, nil
}

func insertParams(group []message.Message) dbsqlc.InsertMessagesParams {
	p := dbsqlc.InsertMessagesParams{Destination: message.DefaultDestination}
	for _, m := range inKeyOrder(group) {
		p.Ids = append(p.Ids, m.ID)
		p.CreatedAts = append(p.CreatedAts, m.ID.Time())
		p.DeliverAts = append(p.DeliverAts, m.DeliverAt)
		p.ExpiresAts = append(p.ExpiresAts, value(m.ExpiresAt))
		p.Priorities = append(p.Priorities, int16(m.Priority))
		p.Destinations = append(p.Destinations, m.Destination)
		p.Recipients = append(p.Recipients, m.To)
		p.Contents = append(p.Contents, m.Content)
		p.Payloads = append(p.Payloads, orEmpty(m.Payload))
		p.Types = append(p.Types, m.Type)
		p.Metadatas = append(p.Metadatas, metadataText(m.Metadata))
		p.IdempotencyScopes = append(p.IdempotencyScopes, m.Scope)
		p.IdempotencyKeys = append(p.IdempotencyKeys, m.IdempotencyKey)
		p.BodyHashes = append(p.BodyHashes, orEmpty(m.BodyHash))
		p.Traceparents = append(p.Traceparents, m.Trace.Parent)
		p.Tracestates = append(p.Tracestates, m.Trace.State)
	}
	return p
}

// inKeyOrder sorts a group: two groups that hold the same keys in different
// order would wait for each other for ever.
func inKeyOrder(group []message.Message) []message.Message {
	return slices.SortedStableFunc(slices.Values(group), func(a, b message.Message) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.IdempotencyKey, b.IdempotencyKey), cmp.Compare(string(a.ID[:]), string(b.ID[:])))
	})
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func metadataText(metadata map[string]string) string {
	if len(metadata) == 0 {
		return ""
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		panic(fmt.Sprintf("db: strings are valid JSON: %v", err))
	}
	return string(text)
}
