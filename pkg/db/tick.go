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

// Pace is the state of the schedule and when the next tick is due.
type Pace struct {
	Running   bool          // false: stopped
	Interval  time.Duration // 0 is the continuous mode
	ClaimOpen bool          // a claim is not yet published; no tick runs before it is
	ClaimLost bool          // its outbox row is gone and nobody will publish it, see CloseLostClaim
	Wait      time.Duration // until the next tick, by Postgres' clock; not above 0 when it is due
	Trusted   bool          // false: commits may be lost, and nothing is emitted until that is repaired
}

// Pace reads the schedule without a lock. It returns ErrNotProvisioned if there is
// none.
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
// pending. It looks where a claim would, above the floor; nil for noWatermark.
func (s *Store) NextDue(ctx context.Context, destination string, watermark *Watermark) (wait time.Duration, found bool, err error) {
	watermarks, _ := watermark.begin(time.Now())
	row, err := s.queries.OldestPending(ctx, destination, watermarks, claimMargin)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up oldest pending message: %w", err)
	}
	return row.Wait, true, nil
}

// ExpiredLease is a message whose lease expired.
type ExpiredLease struct {
	ID                   message.ID
	Destination          string
	ClaimNumber          message.ClaimNumber
	ClaimsWithoutOutcome int           // since the last outcome
	LeaseUntil           time.Time     // when the lease expired
	Age                  time.Duration // since the last change
}

// TickParams limit what a tick claims.
type TickParams struct {
	Destination string
	Limit       int            // an upper bound for the schedule's batch size
	Lease       time.Duration  // how long an emitted id may be without an outcome
	Reclaim     []ExpiredLease // claimed again before anything else
	Watermark   *Watermark     // of this dispatcher; nil for none
	// BatchSize returns the batch size for the configured one, 0 if that is unset.
	BatchSize func(interval time.Duration, configured int) int
	// EncodeOutbox returns what the outbox stores about the claim.
	EncodeOutbox func(Claim) []byte

	claimsFrom message.ClaimNumber // the schedule's
}

// Claim is the messages that a tick claims, highest priority first, then oldest.
type Claim struct {
	Reclaimed []message.Message // their leases had expired
	Fresh     []message.Message // were PENDING
}

// Size returns the number of messages.
func (c Claim) Size() int { return len(c.Reclaimed) + len(c.Fresh) }

// Messages returns all messages in the order in which they are emitted.
func (c Claim) Messages() []message.Message { return slices.Concat(c.Reclaimed, c.Fresh) }

// TickResult is the result of a tick.
type TickResult struct {
	Claim
	Ran      bool          // false: not due, stopped, not trusted, or another dispatcher is at it
	Running  bool          // false: stopped
	Wait     time.Duration // until the next tick is due, by Postgres' clock; 0 when unknown
	Interval time.Duration // 0 is the continuous mode
	Full     bool          // the batch size was reached: more may be due
	OutboxID int64         // to publish and then finish with FinishClaim; 0 for an empty claim
}

// Tick runs a tick if one is due. In one transaction it locks the schedule, claims
// a batch and stores it in the outbox. The next tick can run only after
// FinishClaim. Tick never waits for the tick of another dispatcher.
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
			// They are from before there was an interval, which begins when they
			// are published.
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
			MinClaimNumber: int64(p.claimsFrom), Lease: p.Lease, Ids: leaseIDs(p.Reclaim), ClaimNumbers: leaseClaimNumbers(p.Reclaim), BatchLimit: int32(s.atOnce(limit)),
			WithContent: s.content,
		})
		if err != nil {
			return fmt.Errorf("reclaim: %w", err)
		}
		tick.Reclaimed = inOrder(rows)
	}
	if left := limit - len(tick.Reclaimed); left > 0 {
		began := time.Now()
		watermarks, full := p.Watermark.begin(began)
		rows, err := q.ClaimDue(ctx, dbsqlc.ClaimDueParams{
			Lease: p.Lease, FromStatuses: texts(message.Emit.From), Destination: p.Destination, BatchSize: int32(left),
			Watermarks: watermarks, Margin: claimMargin, MinClaimNumber: int64(p.claimsFrom), WithContent: s.content, BytesLimit: contentBytes,
		})
		if full {
			p.Watermark.looked(began, time.Since(began))
		}
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		tick.Fresh = inOrder(rows)
	}
	// If the limit on bytes ended the batch, more messages may be due too.
	tick.Full = tick.Size() == limit || payloadBytes(tick.Fresh) >= contentBytes
	return nil
}

// inOrder sorts claimed rows, which an UPDATE returns in any order, into the order
// in which they are emitted.
func inOrder[R eventRow](rows []R) []message.Message {
	claimed := eventMessages(rows)
	slices.SortFunc(claimed, func(a, b message.Message) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.DeliverAt.Compare(b.DeliverAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return claimed
}

// FinishClaim ends a claim that its owner has published completely. The interval
// begins now, by the clock of Postgres. A second call changes nothing, nor does a
// call after a relay took over the claim.
func (s *Store) FinishClaim(ctx context.Context, outboxID int64, batch int) error {
	if _, err := s.queries.FinishClaim(ctx, int32(batch), outboxID); err != nil {
		return fmt.Errorf("finish claim: %w", err)
	}
	return nil
}

func leaseIDs(lost []ExpiredLease) []message.ID {
	ids := make([]message.ID, len(lost))
	for i, l := range lost {
		ids[i] = l.ID
	}
	return ids
}

func leaseClaimNumbers(lost []ExpiredLease) []int64 {
	claims := make([]int64, len(lost))
	for i, l := range lost {
		claims[i] = int64(l.ClaimNumber)
	}
	return claims
}

// claimMargin is how long a transaction that makes a message due may take to
// commit for the next claim to see the message. After a longer one, the next
// full claim sees it.
const claimMargin = 2 * time.Second

// A full claim runs every fullEvery, or less often if it takes long, so that full
// claims take at most one fullShare-th of the time.
const (
	fullEvery = time.Second
	fullShare = 20
)

// noWatermark is no watermark, for all priorities.
var noWatermark = make([]time.Time, message.MaxPriority+1)

// Watermark is, for each priority, the due time up to which one dispatcher has
// claimed everything. The next claim starts there. Otherwise each claim would read
// the index entries of everything claimed before, which Postgres cannot remove
// while anything, such as a backup, holds an old snapshot.
//
// No message stays hidden below a watermark: inserts and redrives make messages
// due now, and a full claim, which has no watermark, finds what commits later than
// claimMargin. The zero value is ready. It is not safe for concurrent use.
type Watermark struct {
	claimed [message.MaxPriority + 1]time.Time // zero: nothing
	full    time.Time                          // when the last full claim began
	took    time.Duration
}

// begin returns where a claim starts, by priority.
func (f *Watermark) begin(now time.Time) (watermarks []time.Time, full bool) {
	if f == nil || now.Sub(f.full) >= max(fullEvery, fullShare*f.took) {
		return noWatermark, true
	}
	return f.claimed[:], false
}

// looked notes that a full claim was tried, also if it failed: one that takes
// longer than a tick may take must not be repeated at once.
func (f *Watermark) looked(began time.Time, took time.Duration) {
	if f != nil {
		f.full, f.took = began, took
	}
}

// raise notes what a committed claim contains. A full claim may lower a watermark:
// there may be more below than it found.
func (f *Watermark) raise(claimed []message.Message) {
	if f == nil {
		return
	}
	var last [len(f.claimed)]time.Time
	for _, m := range claimed {
		if m.DeliverAt.After(last[m.Priority]) {
			last[m.Priority] = m.DeliverAt
		}
	}
	for priority, at := range last {
		if !at.IsZero() {
			f.claimed[priority] = at
		}
	}
}
