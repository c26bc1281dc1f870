package db

import (
	"encoding/json"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Statements that change messages return what the events contain. They read
// payloads only if the events contain those too, and then at most this many bytes
// or messages at once. The rest is left to the next statement.
const (
	contentBytes  = 4 << 20
	contentAtOnce = 32
)

// WithContent returns a Store whose claims read content, payload and metadata, for
// events that contain them.
func (s *Store) WithContent(content bool) *Store {
	return &Store{pool: s.pool, reads: s.reads, queries: s.queries, counts: s.counts, outbox: s.outbox, content: content}
}

// atOnce returns how many messages, of at most limit, one statement reads.
func (s *Store) atOnce(limit int) int {
	if s.content {
		return min(limit, contentAtOnce)
	}
	return limit
}

// eventRow are the rows of statements that return what events contain. They have
// the same columns.
type eventRow interface {
	dbsqlc.ClaimDueRow | dbsqlc.ReclaimRow | dbsqlc.GiveUpRow | dbsqlc.ExpireDueRow | dbsqlc.EraseMessagesRow |
		dbsqlc.RestoreClaimsRow
}

func eventMessages[R eventRow](rows []R) []message.Message {
	messages := make([]message.Message, len(rows))
	for i, row := range rows {
		messages[i] = eventMessage(dbsqlc.ClaimDueRow(row))
	}
	return messages
}

func eventMessage(row dbsqlc.ClaimDueRow) message.Message {
	return toMessage(dbsqlc.Message{
		ID: row.ID, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, DeliverAt: row.DeliverAt, ExpiresAt: row.ExpiresAt,
		QueuedAt: row.QueuedAt, SentAt: row.SentAt, NextAttemptAt: row.NextAttemptAt, Version: row.Version, ClaimNumber: row.ClaimNumber,
		Attempts: row.Attempts, BudgetStart: row.BudgetStart, Priority: row.Priority, Status: row.Status,
		Destination: row.Destination, Recipient: row.Recipient, Type: row.Type, ExternalID: row.ExternalID, LastError: row.LastError,
		Traceparent: row.Traceparent, Tracestate: row.Tracestate, Content: &row.Content, Payload: row.Payload, Metadata: row.Metadata,
	})
}

// queuedMessage is the message of a row for a sender.
func queuedMessage(row dbsqlc.LoadQueuedRow) message.Message {
	return eventMessage(dbsqlc.ClaimDueRow{
		ID: row.ID, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, DeliverAt: row.DeliverAt, ExpiresAt: row.ExpiresAt,
		QueuedAt: row.QueuedAt, SentAt: row.SentAt, NextAttemptAt: row.NextAttemptAt, Version: row.Version, ClaimNumber: row.ClaimNumber,
		Attempts: row.Attempts, BudgetStart: row.BudgetStart, Priority: row.Priority, Status: row.Status,
		Destination: row.Destination, Recipient: row.Recipient, Type: row.Type, ExternalID: row.ExternalID, LastError: row.LastError,
		Traceparent: row.Traceparent, Tracestate: row.Tracestate, Content: row.Content, Payload: row.Payload, Metadata: row.Metadata,
	})
}

// firstMessages are the messages that others repeat, without content and payload.
func firstMessages[R dbsqlc.MessagesByKeyRow | dbsqlc.MessagesByIDRow](rows []R) []message.Message {
	messages := make([]message.Message, len(rows))
	for i, r := range rows {
		row := dbsqlc.MessagesByKeyRow(r)
		messages[i] = toMessage(dbsqlc.Message{
			ID: row.ID, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, DeliverAt: row.DeliverAt, ExpiresAt: row.ExpiresAt,
			QueuedAt: row.QueuedAt, SentAt: row.SentAt, NextAttemptAt: row.NextAttemptAt, Version: row.Version, ClaimNumber: row.ClaimNumber,
			Attempts: row.Attempts, BudgetStart: row.BudgetStart, Priority: row.Priority, Status: row.Status,
			Destination: row.Destination, Recipient: row.Recipient, Type: row.Type, ExternalID: row.ExternalID, LastError: row.LastError,
			IdempotencyScope: row.IdempotencyScope, IdempotencyKey: row.IdempotencyKey, BodyHash: row.BodyHash,
		})
	}
	return messages
}

func payloadBytes(messages []message.Message) (n int) {
	for _, m := range messages {
		n += len(m.Payload)
	}
	return n
}

// toMessage never fails: a row that cannot be read would block every batch that
// contains it.
func toMessage(row dbsqlc.Message) message.Message {
	return message.Message{
		ID:             row.ID,
		To:             row.Recipient,
		Content:        value(row.Content),
		Payload:        row.Payload,
		Destination:    row.Destination,
		Type:           value(row.Type),
		Priority:       int(row.Priority),
		DeliverAt:      row.DeliverAt,
		ExpiresAt:      row.ExpiresAt,
		Metadata:       toMetadata(row.Metadata),
		Status:         row.Status,
		Attempts:       int(row.Attempts),
		LastError:      value(row.LastError),
		NextAttemptAt:  row.NextAttemptAt,
		ExternalID:     value(row.ExternalID),
		CreatedAt:      row.CreatedAt,
		QueuedAt:       row.QueuedAt,
		SentAt:         row.SentAt,
		UpdatedAt:      row.UpdatedAt,
		Version:        row.Version,
		ClaimNumber:    row.ClaimNumber,
		BudgetStart:    int(row.BudgetStart),
		IdempotencyKey: value(row.IdempotencyKey),
		Scope:          value(row.IdempotencyScope),
		BodyHash:       row.BodyHash,
		Trace:          message.Trace{Parent: value(row.Traceparent), State: value(row.Tracestate)},
	}
}

// toMetadata reads a JSON object of strings. If another program wrote it, values of
// other types stay JSON, and anything but an object is left out.
func toMetadata(column []byte) map[string]string {
	var metadata map[string]string
	if column == nil || json.Unmarshal(column, &metadata) == nil {
		return metadata
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(column, &values) != nil {
		return nil
	}
	metadata = make(map[string]string, len(values))
	for name, raw := range values {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		metadata[name] = text
	}
	return metadata
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// set returns nil, which is NULL in SQL, for the zero value.
func set[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
