package db

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// InsertResult is the result of one message of an Insert.
type InsertResult struct {
	Message message.Message // as stored; for a repeated idempotency key, the first message with it
	Created bool            // false: a message with its id or key existed already
}

// Insert stores a group of new messages and their events in one transaction. The
// results are in the group's order. If the idempotency key or the id of a message
// exists, its result is the first message with it, and the caller compares the
// BodyHash. It returns the outbox row to publish, 0 for none.
func (s *Store) Insert(ctx context.Context, group []message.Message, encode EncodeOutbox) ([]InsertResult, int64, error) {
	return s.insert(ctx, nil, group, encode)
}

func (s *Store) insert(ctx context.Context, opening []string, group []message.Message, encode EncodeOutbox) ([]InsertResult, int64, error) {
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
			outboxID, err = writeFastPathOutbox(ctx, last, created, emits, encode)
			return err
		}
		if outboxID, err = writeFastPathOutbox(ctx, q, created, emits, encode); err != nil {
			return err
		}
		return s.findFirsts(ctx, q, group, results)
	})
	if err != nil {
		return nil, 0, err
	}
	return results, outboxID, nil
}

// findFirsts adds, for each message that was not inserted, the one that existed
// before.
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

// FindByIdempotencyKey returns, for each message of a group, the stored message
// with its idempotency key, without content and payload; nil if there is none.
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

// inKeyOrder sorts a group. Two groups with the same keys in different order would
// deadlock.
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
