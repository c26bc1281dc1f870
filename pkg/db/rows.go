package db

import (
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// A move returns what its events tell. Payloads are read only where they tell
// those too, and then of so many bytes, or so few messages, at once: what is
// left waits for the next statement.
const (
	contentBytes  = 4 << 20
	contentAtOnce = 32
)

// WithContent returns a Store whose claims and sweeps read content, payload and
// metadata, for events that tell them.
func (s *Store) WithContent(content bool) *Store {
	return &Store{pool: s.pool, reads: s.reads, queries: s.queries, counts: s.counts, outbox: s.outbox, content: content}
}

// atOnce is how many messages of a limit are read at once.
func (s *Store) atOnce(limit int) int {
	if s.content {
		return min(limit, contentAtOnce)
	}
	return limit
}

// moved are the rows of statements that return what events tell. They list the
// same columns.
type moved interface {
	dbsqlc.ClaimDueRow | dbsqlc.ReclaimRow | dbsqlc.GiveUpRow | dbsqlc.ExpireDueRow | dbsqlc.EraseMessagesRow |
		dbsqlc.RestoreClaimsRow
}

func movedMessages[R moved](rows []R) []message.Message {
	messages := make([]message.Message, len(rows))
	for i, row := range rows {
		messages[i] = movedMessage(dbsqlc.ClaimDueRow(row))
	}
	return messages
}

func movedMessage(row dbsqlc.ClaimDueRow) message.Message {
	return toMessage(dbsqlc.Message{
		ID: row.ID, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, DeliverAt: row.DeliverAt, ExpiresAt: row.ExpiresAt,
		QueuedAt: row.QueuedAt, SentAt: row.SentAt, NextAttemptAt: row.NextAttemptAt, Version: row.Version, ClaimNumber: row.ClaimNumber,
		Attempts: row.Attempts, BudgetStart: row.BudgetStart, Priority: row.Priority, Status: row.Status,
		Destination: row.Destination, Recipient: row.Recipient, Type: row.Type, ExternalID: row.ExternalID, LastError: row.LastError,
		Traceparent: row.Traceparent, Tracestate: row.Tracestate, Content: &row.Content, Payload: row.Payload, Metadata: row.Metadata,
	})
}

// queuedMessage is a row as a sender needs it.
func queuedMessage(row dbsqlc.LoadQueuedRow) message.Message {
	return movedMessage(dbsqlc.ClaimDueRow{
		ID: row.ID, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, DeliverAt: row.DeliverAt, ExpiresAt: row.ExpiresAt,
		QueuedAt: row.QueuedAt, SentAt: row.SentAt, NextAttemptAt: row.NextAttemptAt, Version: row.Version, ClaimNumber: row.ClaimNumber,
		Attempts: row.Attempts, BudgetStart: row.BudgetStart, Priority: row.Priority, Status: row.Status,
		Destination: row.Destination, Recipient: row.Recipient, Type: row.Type, ExternalID: row.ExternalID, LastError: row.LastError,
		Traceparent: row.Traceparent, Tracestate: row.Tracestate, Content: row.Content, Payload: row.Payload, Metadata: row.Metadata,
	})
}

// firstMessages are the messages that others repeat, without what they carry.
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
