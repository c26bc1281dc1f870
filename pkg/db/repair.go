package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// A server that took over from another one, or that was restored, may lack the last
// commits that its predecessor confirmed. The schedule contains the timeline of the
// server whose commits are known to be complete. Every statement that emits compares
// it with the server's own timeline. So nothing is emitted between a failover and
// its repair, no matter who notices it and when.

// Timeline identifies a server.
type Timeline struct {
	Trusted bool   // no commits are lost, as far as the schedule knows
	Server  string // cluster and timeline
	// Flushed is how much log is safe on the server's disk; 0 when it does not
	// tell.
	Flushed int64
}

// Timeline tells which server this is, and whether its commits are complete.
func (s *Store) Timeline(ctx context.Context) (Timeline, error) {
	row, err := s.queries.Timeline(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return Timeline{}, ErrNotProvisioned
	}
	if err != nil {
		return Timeline{}, fmt.Errorf("look up timeline: %w", err)
	}
	// A managed server may not answer this.
	flushed, _ := s.queries.LogPosition(ctx)
	return Timeline{Trusted: row.Trusted, Server: row.Server, Flushed: flushed}, nil
}

// Epoch tells which of its histories Postgres is in: another number after
// each repair of lost commits, 0 before the first.
func (s *Store) Epoch(ctx context.Context) (int64, error) {
	row, err := s.queries.Timeline(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNotProvisioned
	}
	if err != nil {
		return 0, fmt.Errorf("look up timeline: %w", err)
	}
	return int64(row.MinClaimNumber), nil
}

// LoadVerified is LoadQueued for copies that somebody may have had before. It
// returns ErrCommitsLost while the rows may be older than what was published.
func (s *Store) LoadVerified(ctx context.Context, ids []message.ID, bytes int64) (LoadedMessages, error) {
	var rows []dbsqlc.LoadQueuedRow
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		trusted, err := q.IsTrusted(ctx)
		if err != nil {
			return err
		}
		if !trusted {
			return ErrCommitsLost
		}
		rows, err = last.LoadQueued(ctx, max(bytes, 1), ids)
		return err
	})
	if err != nil {
		return LoadedMessages{}, fmt.Errorf("load %d messages: %w", len(ids), err)
	}
	return queuedOf(rows), nil
}

// ReportCommitsLost stops every emission, of all processes, until FinishRepair. If
// the caller is not certain, Postgres compares the timelines first. It reports
// whether this call stopped the emissions.
func (s *Store) ReportCommitsLost(ctx context.Context, certain bool) (bool, error) {
	n, err := s.queries.ReportCommitsLost(ctx, certain)
	if err != nil {
		return false, fmt.Errorf("notice lost commits: %w", err)
	}
	return n > 0, nil
}

// Repair is the right to repair a loss, for a while.
type Repair struct {
	Repairer message.ID
	Server   string        // on which it began
	LostAt   time.Time     // when the loss was noticed
	Age      time.Duration // since then
}

// TakeRepair takes or renews the right to repair a loss. taken is false while
// another dispatcher has it, or when there is nothing to repair.
func (s *Store) TakeRepair(ctx context.Context, repairer message.ID, term time.Duration) (repair Repair, taken bool, err error) {
	row, err := s.queries.TakeRepair(ctx, repairer, term)
	if errors.Is(err, pgx.ErrNoRows) {
		return Repair{}, false, nil
	}
	if err != nil {
		return Repair{}, false, fmt.Errorf("take the repair of lost commits: %w", err)
	}
	return Repair{Repairer: repairer, Server: row.Server, LostAt: row.CommitsLostAt, Age: row.Age}, true, nil
}

// FinishRepair lets emissions go on. The interval counts from the last emission,
// which was so long ago. From now on no claim number is lower than
// claimsFrom. It is false when commits were lost once more meanwhile, or
// somebody else has the repair: then nothing is changed.
func (s *Store) FinishRepair(ctx context.Context, r Repair, emittedAgo time.Duration, claimsFrom message.ClaimNumber) (bool, error) {
	n, err := s.queries.FinishRepair(ctx, dbsqlc.FinishRepairParams{
		MinClaimNumber: int64(claimsFrom), EmittedAgo: emittedAgo, Repairer: r.Repairer, Noticed: r.LostAt, Server: r.Server,
	})
	if err != nil {
		return false, fmt.Errorf("finish the repair of lost commits: %w", err)
	}
	return n > 0, nil
}

// RecorderProgress is how far in EVENTS outcomes are recorded, as the last batch says.
type RecorderProgress struct {
	LastSequence     uint64 // the last one that is recorded
	CompleteSequence uint64 // up to here all are
}

// RecorderProgress tells how far in EVENTS outcomes are recorded; zero when nothing
// is noted.
func (s *Store) RecorderProgress(ctx context.Context) (RecorderProgress, error) {
	row, err := s.queries.GetRecorderProgress(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return RecorderProgress{}, nil
	}
	if err != nil {
		return RecorderProgress{}, fmt.Errorf("look up recorded events: %w", err)
	}
	return RecorderProgress{LastSequence: uint64(row.LastSequence), CompleteSequence: uint64(row.CompleteSequence)}, nil
}

// ResetRecorderProgress is AddRecorderProgress, whatever was noted before: EVENTS may have been
// put back, and give its numbers out anew.
func (s *Store) ResetRecorderProgress(ctx context.Context, event uint64) error {
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		if err := q.DeleteRecorderProgress(ctx); err != nil {
			return err
		}
		return last.InsertRecorderProgress(ctx, int64(event), int64(event))
	})
	if err != nil {
		return fmt.Errorf("note event %d as recorded: %w", event, err)
	}
	return nil
}

// AddRecorderProgress notes that all outcomes up to an event are recorded.
func (s *Store) AddRecorderProgress(ctx context.Context, event uint64) error {
	if err := s.queries.InsertRecorderProgress(ctx, int64(event), int64(event)); err != nil {
		return fmt.Errorf("note event %d as recorded: %w", event, err)
	}
	return nil
}

// FoldRecorderProgress leaves one of the notes about recorded events.
func (s *Store) FoldRecorderProgress(ctx context.Context) error {
	if err := s.queries.FoldRecorderProgress(ctx); err != nil {
		return fmt.Errorf("fold recorded events: %w", err)
	}
	return nil
}

// CountUnrecorded counts the outcomes that Record would write. Of outcomes that were
// recorded before it is none, unless the commit is lost.
func (s *Store) CountUnrecorded(ctx context.Context, outcomes []Outcome) (int, error) {
	p := outcomeParams(outcomes, 0)
	n, err := s.queries.UnrecordedOutcomes(ctx, dbsqlc.UnrecordedOutcomesParams{
		Ids: p.Ids, Statuses: p.Statuses, ClaimNumbers: p.ClaimNumbers, Numbers: p.Numbers, Tried: p.Tried, Transitions: p.Transitions,
	})
	if err != nil {
		return 0, fmt.Errorf("look for unrecorded outcomes: %w", err)
	}
	return int(n), nil
}

func lastEvent(outcomes []Outcome) (last uint64) {
	for _, o := range outcomes {
		last = max(last, o.Event)
	}
	return last
}

// RestoreClaims raises messages to the claims of copies that exist. Those that
// were PENDING are QUEUED with that, and returned, with the outbox row to
// publish; 0 for none.
func (s *Store) RestoreClaims(ctx context.Context, copies []Delivery, lease time.Duration, encode EncodeOutbox) (moved []message.Message, outboxID int64, err error) {
	ids, claims := make([]message.ID, len(copies)), make([]int64, len(copies))
	for i, c := range copies {
		ids[i], claims[i] = c.ID, int64(c.ClaimNumber)
	}
	err = s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		if err := q.RaiseToDeliveries(ctx, lease, ids, claims); err != nil {
			return fmt.Errorf("raise the claims of %d copies: %w", len(copies), err)
		}
		rows, err := q.RestoreClaims(ctx, dbsqlc.RestoreClaimsParams{
			Lease: lease, Ids: ids, ClaimNumbers: claims, FromStatuses: texts(message.Emit.From), WithContent: s.content,
		})
		if err != nil {
			return fmt.Errorf("restore the claims of %d copies: %w", len(copies), err)
		}
		moved = eventMessages(rows)
		outboxID, err = writeOutbox(ctx, last, moved, encode)
		return err
	})
	return moved, outboxID, err
}

// RestoreBatchSize is how many of these copies RestoreClaims may be given at once.
func (s *Store) RestoreBatchSize(copies int) int { return s.atOnce(copies) }

// CancelRecord is a cancel that an event tells of.
type CancelRecord struct {
	ID      message.ID
	Version int64
	At      time.Time
}

// RestoreCancels repeats cancels whose commit was lost, and returns their number.
func (s *Store) RestoreCancels(ctx context.Context, cancels []CancelRecord) (int, error) {
	p := dbsqlc.RestoreCancelsParams{FromStatuses: texts(message.Cancel.From)}
	for _, c := range cancels {
		p.Ids, p.Versions, p.Ats = append(p.Ids, c.ID), append(p.Versions, c.Version), append(p.Ats, c.At)
	}
	restored, err := s.queries.RestoreCancels(ctx, p)
	if err != nil {
		return 0, fmt.Errorf("restore %d cancels: %w", len(cancels), err)
	}
	return len(restored), nil
}
