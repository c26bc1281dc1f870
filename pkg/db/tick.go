package db

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Pace is when the next tick is due.
type Pace struct {
	Running   bool          // false: stopped
	Interval  time.Duration // 0 is the continuous mode
	ClaimOpen bool          // a claim is not yet published: no tick before it is
	ClaimLost bool          // that claim's outbox row is gone: nobody will publish it, see CloseLostClaim
	Wait      time.Duration // until the next tick, by Postgres' clock; not above 0 when it is due
	Trusted   bool          // false: commits may be lost, and nothing is emitted before that is repaired
}

// Pace looks at the schedule and locks nothing. It returns ErrNotProvisioned
// while there is none.
func (s *Store) Pace(ctx context.Context) (Pace, error) {
	row, err := s.queries.Pace(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return Pace{}, ErrNotProvisioned
	}
	if err != nil {
		return Pace{}, fmt.Errorf("read pace: %w", err)
	}
	return Pace{
		Running: row.Running, Interval: row.TickInterval, ClaimOpen: row.ClaimOpen, ClaimLost: row.ClaimLost, Wait: row.Wait, Trusted: row.Trusted,
	}, nil
}

// NextDue returns how long it is until something pending is due, by Postgres'
// clock; not above 0 when something is. found is false when nothing is
// pending. It looks where a claim would, above the floor; nil for everywhere.
func (s *Store) NextDue(ctx context.Context, destination string, floor *Watermark) (wait time.Duration, found bool, err error) {
	floors, _ := floor.begin(time.Now())
	row, err := s.queries.OldestPending(ctx, destination, floors, claimMargin)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up oldest pending message: %w", err)
	}
	return row.Wait, true, nil
}

// ClaimLost is a message whose lease ran out, as the sweep found it.
type ExpiredLease struct {
	ID                   message.ID
	Destination          string
	ClaimNumber          message.ClaimNumber
	ClaimsWithoutOutcome int           // claims in a row that brought no outcome
	LeaseUntil           time.Time     // when it ran out
	Age                  time.Duration // since it was moved last
}

// TickParams say what a tick may take.
type TickParams struct {
	Destination string
	Limit       int            // no more than this, whatever the schedule's batch size is
	Lease       time.Duration  // how long an emitted id may be without an outcome
	Reclaim     []ExpiredLease // claimed anew before anything else
	Watermark   *Watermark     // of this dispatcher's claims; nil for none
	// BatchSize turns the schedule's batch size, 0 for unset, into a number.
	BatchSize func(interval time.Duration, configured int) int
	// Box makes of the claim what the outbox is to hold about it.
	EncodeOutbox func(Claim) []byte

	claimsFrom message.ClaimNumber // the schedule's
}

// ClaimNumber is what a tick took: highest priority first, then oldest.
type Claim struct {
	Reclaimed []message.Message // had lost their lease
	Fresh     []message.Message // were PENDING
}

// Size is how many messages the claim holds.
func (c Claim) Size() int { return len(c.Reclaimed) + len(c.Fresh) }

// Messages returns all of them, in the order in which they are emitted.
func (c Claim) Messages() []message.Message { return slices.Concat(c.Reclaimed, c.Fresh) }

// TickResult is what a tick did.
type TickResult struct {
	Claim
	Ran      bool          // false: not due, stopped, not trusted, or another dispatcher is at it
	Running  bool          // false: stopped
	Wait     time.Duration // until the next tick is due, by Postgres' clock; 0 when unknown
	Interval time.Duration // 0 is the continuous mode
	Full     bool          // the batch size was reached: more may be due
	OutboxID int64         // to publish and then finish with FinishClaim; 0 for an empty claim
}

// TickResult runs a tick if one is due: in one transaction on the schedule it
// claims a batch, stores its announcement and leaves the next tick open until
// FinishClaim. It never waits for another dispatcher's tick.
func (s *Store) Tick(ctx context.Context, p TickParams) (TickResult, error) {
	var tick TickResult
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		schedule, err := q.LockSchedule(ctx)
		if errors.Is(err, pgx.ErrNoRows) {
			tick = TickResult{Running: true} // locked, or not provisioned: look again soon
			return nil
		}
		if err != nil {
			return fmt.Errorf("lock schedule: %w", err)
		}
		tick = TickResult{Running: schedule.Running, Wait: schedule.Wait, Interval: schedule.TickInterval}
		switch {
		case schedule.NextTickAt == nil || !schedule.Running || !schedule.Trusted:
			return nil
		case schedule.Wait > schedule.TickInterval:
			tick.Wait = schedule.TickInterval
			return last.PullBackTick(ctx)
		case schedule.Wait > 0:
			return nil
		}
		if schedule.TickInterval > 0 {
			// From when there was no interval: it begins when they are published.
			if arriving, err := q.HasFastPathClaims(ctx); err != nil || arriving {
				return err
			}
		}
		tick.Ran, p.claimsFrom = true, schedule.MinClaimNumber
		limit := min(p.Limit, p.BatchSize(schedule.TickInterval, int(value(schedule.BatchSize))))
		if err := s.claim(ctx, q, p, limit, &tick); err != nil {
			return err
		}
		if tick.Size() == 0 {
			tick.Wait = schedule.TickInterval
			return last.EmptyTick(ctx, p.Lease)
		}
		if tick.OutboxID, err = last.OpenTick(ctx, p.EncodeOutbox(tick.Claim), tick.Full, p.Lease); err != nil {
			return fmt.Errorf("write outbox: %w", err)
		}
		return nil
	})
	if err != nil {
		return TickResult{}, fmt.Errorf("tick: %w", err)
	}
	p.Watermark.raise(tick.Fresh)
	return tick, nil
}

func (s *Store) claim(ctx context.Context, q *dbsqlc.Queries, p TickParams, limit int, tick *TickResult) error {
	if limit <= 0 {
		return nil
	}
	if len(p.Reclaim) > 0 {
		rows, err := q.Reclaim(ctx, dbsqlc.ReclaimParams{
			MinClaimNumber: int64(p.claimsFrom), Lease: p.Lease, Ids: lostIDs(p.Reclaim), ClaimNumbers: lostClaims(p.Reclaim), BatchLimit: int32(s.atOnce(limit)),
			WithContent: s.content,
		})
		if err != nil {
			return fmt.Errorf("reclaim: %w", err)
		}
		tick.Reclaimed = inOrder(rows)
	}
	if left := limit - len(tick.Reclaimed); left > 0 {
		began := time.Now()
		floors, full := p.Watermark.begin(began)
		rows, err := q.ClaimDue(ctx, dbsqlc.ClaimDueParams{
			Lease: p.Lease, FromStatuses: texts(message.Emit.From), Destination: p.Destination, BatchSize: int32(left),
			Watermarks: floors, Margin: claimMargin, MinClaimNumber: int64(p.claimsFrom), WithContent: s.content, BytesLimit: contentBytes,
		})
		if full {
			p.Watermark.looked(began, time.Since(began))
		}
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		tick.Fresh = inOrder(rows)
	}
	// Cut short by bytes is as full as by number: more may be due.
	tick.Full = tick.Size() == limit || payloadBytes(tick.Fresh) >= contentBytes
	return nil
}

// inOrder puts claimed rows, which an UPDATE returns in any order, into that
// in which they are emitted.
func inOrder[R moved](rows []R) []message.Message {
	claimed := movedMessages(rows)
	slices.SortFunc(claimed, func(a, b message.Message) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.DeliverAt.Compare(b.DeliverAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return claimed
}

// FinishClaim ends a claim whose entries are all published: the interval
// begins now, by Postgres' clock. It is its owner's: called a second time, or
// after a relay has taken the claim, it changes nothing.
func (s *Store) FinishClaim(ctx context.Context, outboxID int64, batch int) error {
	if _, err := s.queries.FinishClaim(ctx, int32(batch), outboxID); err != nil {
		return fmt.Errorf("finish claim: %w", err)
	}
	return nil
}

func lostIDs(lost []ExpiredLease) []message.ID {
	ids := make([]message.ID, len(lost))
	for i, l := range lost {
		ids[i] = l.ID
	}
	return ids
}

func lostClaims(lost []ExpiredLease) []int64 {
	claims := make([]int64, len(lost))
	for i, l := range lost {
		claims[i] = int64(l.ClaimNumber)
	}
	return claims
}
