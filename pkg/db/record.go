package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Outcome is what a sender reports about a delivery.
type Outcome struct {
	ID              message.ID
	Transition      message.Transition
	Version         int64               // the event's sequence
	ClaimNumber     message.ClaimNumber // the copy's
	NextClaimNumber message.ClaimNumber // one higher if the retry was parked, otherwise the same
	DeliveryCount   int                 // JetStream's count
	Attempts        int                 // of the message, including this one
	Attempt         *message.Attempt
	EndedAt         time.Time
	NextAttemptAt   time.Time // of a Defer
	ExternalID      string
	Error           string
	Event           uint64 // the sequence of its event; 0: not part of the progress
}

// transitionPairs is the guard of RecordOutcomes: FROM>TO for every transition that
// an outcome can cause.
var transitionPairs = func() []string {
	var pairs []string
	for _, move := range []message.Transition{message.Succeed, message.Reschedule, message.Fail, message.ExpireInFlight} {
		for _, from := range move.From {
			pairs = append(pairs, string(from)+">"+string(move.To))
		}
	}
	return pairs
}()

// Record writes outcomes and their attempts in one transaction, those of one
// message in the given order. An outcome that is recorded already, or that a newer
// claim supersedes, changes no state. A 2xx wins over every state except SENT.
// Nothing is stored about a message that was erased. It returns how many outcomes
// changed a message.
func (s *Store) Record(ctx context.Context, outcomes []Outcome, lease time.Duration) (int, error) {
	return s.RecordAfter(ctx, 0, outcomes, lease)
}

// RecordAfter is Record and also stores the progress: the last event of these
// outcomes, and the event up to which everything was recorded before.
func (s *Store) RecordAfter(ctx context.Context, complete uint64, outcomes []Outcome, lease time.Duration) (int, error) {
	moved := 0
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		moved = 0
		locked := make(map[message.ID]bool, len(outcomes))
		// A statement can change a row only once: the second outcome of a
		// message waits for the next round.
		for rest := outcomes; len(rest) > 0; {
			var round []Outcome
			round, rest = splitRound(rest)
			ids, err := q.RecordOutcomes(ctx, outcomeParams(round, lease))
			if err != nil {
				return fmt.Errorf("update messages: %w", err)
			}
			moved += len(ids)
			for _, id := range ids {
				locked[id] = true
			}
		}
		return insertAttempts(ctx, q, last, recording{outcomes: outcomes, complete: complete, locked: locked})
	})
	if err != nil {
		return 0, fmt.Errorf("record %d outcomes: %w", len(outcomes), err)
	}
	return moved, nil
}

// recording is what one transaction records.
type recording struct {
	outcomes []Outcome
	complete uint64              // up to which event all were recorded before
	locked   map[message.ID]bool // messages that can't be deleted before its end
}

// insertAttempts inserts the attempts of messages that are locked, and of those
// that it can lock. The other messages were erased, and nothing about them is
// stored. It also stores the progress.
func insertAttempts(ctx context.Context, q, last *dbsqlc.Queries, r recording) error {
	var unlocked []message.ID
	for _, o := range r.outcomes {
		if o.Attempt != nil && !r.locked[o.ID] {
			unlocked = append(unlocked, o.ID)
		}
	}
	if len(unlocked) > 0 {
		kept, err := q.LockMessages(ctx, unlocked)
		if err != nil {
			return fmt.Errorf("lock messages: %w", err)
		}
		for _, id := range kept {
			r.locked[id] = true
		}
	}
	attempts := attemptParams(r.outcomes, r.locked)
	attempts.LastSequence, attempts.CompleteSequence = int64(lastEvent(r.outcomes)), int64(r.complete)
	if len(attempts.MessageIds) == 0 && attempts.LastSequence == 0 {
		return nil
	}
	if err := last.InsertAttempts(ctx, attempts); err != nil {
		return fmt.Errorf("insert attempts: %w", err)
	}
	return nil
}

// splitRound takes the first outcome of each message.
func splitRound(outcomes []Outcome) (round, rest []Outcome) {
	seen := make(map[message.ID]bool, len(outcomes))
	for _, o := range outcomes {
		if seen[o.ID] {
			rest = append(rest, o)
			continue
		}
		seen[o.ID] = true
		round = append(round, o)
	}
	return round, rest
}

func outcomeParams(round []Outcome, lease time.Duration) dbsqlc.RecordOutcomesParams {
	p := dbsqlc.RecordOutcomesParams{Lease: lease, Transitions: transitionPairs}
	for _, o := range round {
		p.Ids = append(p.Ids, o.ID)
		p.Statuses = append(p.Statuses, string(o.Transition.To))
		p.Versions = append(p.Versions, o.Version)
		p.ClaimNumbers = append(p.ClaimNumbers, int64(o.ClaimNumber))
		p.NextClaimNumbers = append(p.NextClaimNumbers, int64(o.NextClaimNumber))
		p.Numbers = append(p.Numbers, int32(o.Attempts))
		p.Tried = append(p.Tried, o.Attempt != nil)
		p.EndedAts = append(p.EndedAts, o.EndedAt)
		p.NextAttemptAts = append(p.NextAttemptAts, o.NextAttemptAt)
		p.ExternalIds = append(p.ExternalIds, storable(o.ExternalID))
		p.Errors = append(p.Errors, storable(o.Error))
	}
	return p
}

// storable replaces characters that a text in Postgres cannot contain. A webhook may
// return anything, and its response must not prevent the outcome from being stored.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

func attemptParams(outcomes []Outcome, locked map[message.ID]bool) dbsqlc.InsertAttemptsParams {
	var p dbsqlc.InsertAttemptsParams
	for _, o := range outcomes {
		if o.Attempt == nil || !locked[o.ID] {
			continue
		}
		p.MessageIds = append(p.MessageIds, o.ID)
		p.ClaimNumbers = append(p.ClaimNumbers, int64(o.ClaimNumber))
		p.Numbers = append(p.Numbers, int32(o.Attempt.Number))
		p.DeliveryCounts = append(p.DeliveryCounts, int32(o.DeliveryCount))
		p.StartedAts = append(p.StartedAts, o.Attempt.StartedAt)
		p.DurationsUs = append(p.DurationsUs, o.Attempt.Duration.Microseconds())
		p.HttpStatuses = append(p.HttpStatuses, int16(o.Attempt.HTTPStatus))
		p.Outcomes = append(p.Outcomes, o.Attempt.Outcome)
		p.Errors = append(p.Errors, storable(o.Attempt.Error))
		p.Responses = append(p.Responses, storable(o.Attempt.Response))
		p.Unsent = append(p.Unsent, o.Attempt.Unsent)
	}
	return p
}
