package db

import (
	"context"
	"fmt"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Import stores messages that come from another system's table, in one
// transaction, with the states, times and external ids that they had there.
// PENDING ones are due at once, in the order of their CreatedAt, and are
// announced like new ones; final ones are history, of which no event tells.
// Each message needs an idempotency key. One that was imported before, by its
// id or its key, is left as it is. Import returns the ids that are new; the
// outbox row is left to the relay. It may run beside everything else.
func (s *Store) Import(ctx context.Context, group []message.Message, encode EncodeOutbox) (map[message.ID]bool, error) {
	fresh := make(map[message.ID]bool, len(group))
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		ids, err := q.ImportMessages(ctx, importParams(group))
		if err != nil {
			return fmt.Errorf("import %d messages: %w", len(group), err)
		}
		for _, id := range ids {
			fresh[id] = true
		}
		var waiting []message.Message
		for _, m := range group {
			if fresh[m.ID] && m.Status == message.Pending {
				waiting = append(waiting, m)
			}
		}
		_, err = writeOutbox(ctx, last, waiting, encode)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// ImportedKeys returns the idempotency keys of a scope, of those given, that are
// stored.
func (s *Store) ImportedKeys(ctx context.Context, scope string, keys []string) (map[string]bool, error) {
	scopes := make([]string, len(keys))
	for i := range scopes {
		scopes[i] = scope
	}
	rows, err := s.queries.MessagesByKey(ctx, scopes, keys)
	if err != nil {
		return nil, fmt.Errorf("look up imported messages: %w", err)
	}
	known := make(map[string]bool, len(rows))
	for _, row := range rows {
		known[value(row.IdempotencyKey)] = true
	}
	return known, nil
}

func importParams(group []message.Message) dbsqlc.ImportMessagesParams {
	var p dbsqlc.ImportMessagesParams
	for _, m := range inKeyOrder(group) {
		p.Ids = append(p.Ids, m.ID)
		p.CreatedAts = append(p.CreatedAts, m.CreatedAt)
		p.UpdatedAts = append(p.UpdatedAts, m.UpdatedAt)
		p.SentAts = append(p.SentAts, value(m.SentAt))
		p.Attempts = append(p.Attempts, int32(m.Attempts))
		p.Priorities = append(p.Priorities, int16(m.Priority))
		p.Statuses = append(p.Statuses, string(m.Status))
		p.Destinations = append(p.Destinations, m.Destination)
		p.Recipients = append(p.Recipients, m.To)
		p.Contents = append(p.Contents, m.Content)
		p.Metadatas = append(p.Metadatas, metadataObject(m.Metadata))
		p.ExternalIds = append(p.ExternalIds, m.ExternalID)
		p.LastErrors = append(p.LastErrors, m.LastError)
		p.IdempotencyScopes = append(p.IdempotencyScopes, m.Scope)
		p.IdempotencyKeys = append(p.IdempotencyKeys, m.IdempotencyKey)
		p.BodyHashes = append(p.BodyHashes, orEmpty(m.BodyHash))
	}
	return p
}

func metadataObject(metadata map[string]string) string {
	if len(metadata) == 0 {
		return "{}"
	}
	return metadataText(metadata)
}
