package db

import (
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

// Lost is a message whose lease ran out, as the sweep found it.
type Lost struct {
	ID          message.ID
	Destination string
	Claim       int64
	Fruitless   int // claims in a row that brought no outcome
}

// TickParams say what a tick may take.
type TickParams struct {
	Destination string
	Limit       int           // no more than this, whatever the schedule's batch size is
	Lease       time.Duration // how long an emitted id may be without an outcome
	Lost        []Lost        // claimed anew before anything else
	// BatchSize turns the schedule's batch size, 0 for unset, into a number.
	BatchSize func(interval time.Duration, configured int) int
	Box       Box
}

// Tick is what a tick did.
type Tick struct {
	Ran      bool              // false: not due, stopped, or another dispatcher is at it
	Running  bool              // false: stopped
	Wait     time.Duration     // until the next tick is due, by Postgres' clock; 0 when unknown
	Interval time.Duration     // 0 is the continuous mode
	Claimed  []message.Message // highest priority first, then oldest
	Full     bool              // the batch size was reached: more may be due
	OutboxID int64             // to publish and then finish with FinishClaim
}

// Tick runs a tick if one is due: in one transaction on the schedule it
// claims a batch, stores its announcement and leaves the next tick open until
// FinishClaim. It never waits for another dispatcher's tick.
func (s *Store) Tick(ctx context.Context, p TickParams) (Tick, error) {
	var tick Tick
	err := s.inTx(ctx, func(q *dbsqlc.Queries) error {
		schedule, err := q.LockSchedule(ctx)
		if errors.Is(err, pgx.ErrNoRows) {
			tick = Tick{Running: true} // locked, or not provisioned: look again soon
			return nil
		}
		if err != nil {
			return fmt.Errorf("lock schedule: %w", err)
		}
		tick = Tick{Running: schedule.Running, Wait: schedule.Wait, Interval: schedule.TickInterval}
		switch {
		case schedule.NextTickAt == nil || !schedule.Running:
			return nil
		case schedule.Wait > schedule.TickInterval:
			tick.Wait = schedule.TickInterval
			return q.PullBackTick(ctx)
		case schedule.Wait > 0:
			return nil
		}
		tick.Ran = true
		limit := min(p.Limit, p.BatchSize(schedule.TickInterval, int(value(schedule.BatchSize))))
		if err := s.claim(ctx, q, p, limit, &tick); err != nil {
			return err
		}
		if len(tick.Claimed) == 0 {
			tick.Wait = schedule.TickInterval
			return q.EmptyTick(ctx)
		}
		if tick.OutboxID, err = q.InsertOutbox(ctx, true, p.Box(tick.Claimed)); err != nil {
			return fmt.Errorf("write outbox: %w", err)
		}
		return q.OpenTick(ctx)
	})
	if err != nil {
		return Tick{}, fmt.Errorf("tick: %w", err)
	}
	return tick, nil
}

func (s *Store) claim(ctx context.Context, q *dbsqlc.Queries, p TickParams, limit int, tick *Tick) error {
	if limit <= 0 {
		return nil
	}
	lost := p.Lost[:min(len(p.Lost), limit)]
	rows, err := q.Reclaim(ctx, p.Lease, lostIDs(lost), lostClaims(lost))
	if err != nil {
		return fmt.Errorf("reclaim: %w", err)
	}
	if left := limit - len(rows); left > 0 {
		due, err := q.ClaimDue(ctx, dbsqlc.ClaimDueParams{
			Lease: p.Lease, Before: texts(message.Emit.From), Destination: p.Destination, BatchSize: int32(left),
		})
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		rows = append(rows, due...)
	}
	if tick.Claimed, err = toMessages(rows); err != nil {
		return err
	}
	slices.SortFunc(tick.Claimed, func(a, b message.Message) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.DeliverAt.Compare(b.DeliverAt), cmp.Compare(string(a.ID[:]), string(b.ID[:])))
	})
	tick.Full = len(rows) == limit
	return nil
}

// FinishClaim ends a claim whose entries are all published: the interval
// begins now, by Postgres' clock. The second to call it for an outbox row
// changes nothing.
func (s *Store) FinishClaim(ctx context.Context, outboxID int64, batch int) error {
	if _, err := s.queries.FinishClaim(ctx, int32(batch), outboxID); err != nil {
		return fmt.Errorf("finish claim: %w", err)
	}
	return nil
}

// Abandoned is an outbox row that its owner did not publish in time.
type Abandoned struct {
	ID      int64
	IsClaim bool
	Batch   []byte
}

// Emission is one id of a claim.
type Emission struct {
	ID    message.ID
	Claim int64
}

// Relay publishes outbox rows older than age that no other dispatcher is
// relaying, oldest first, at most limit of them, and returns how many. The
// rows stay locked meanwhile, so publish is to be quick: a few seconds. It
// returns the emissions that a claim held.
func (s *Store) Relay(ctx context.Context, age, lease time.Duration, limit int, publish func(context.Context, Abandoned) ([]Emission, error)) (int, error) {
	relayed := 0
	err := s.inTx(ctx, func(q *dbsqlc.Queries) error {
		rows, err := q.LockAbandoned(ctx, age, int32(limit))
		if err != nil {
			return fmt.Errorf("look for abandoned outbox rows: %w", err)
		}
		for _, row := range rows {
			emissions, err := publish(ctx, Abandoned{ID: row.ID, IsClaim: row.IsClaim, Batch: row.Batch})
			if err != nil {
				return fmt.Errorf("relay outbox row %d: %w", row.ID, err)
			}
			if err := finishRelayed(ctx, q, row, emissions, lease); err != nil {
				return fmt.Errorf("finish outbox row %d: %w", row.ID, err)
			}
			relayed++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return relayed, nil
}

func finishRelayed(ctx context.Context, q *dbsqlc.Queries, row dbsqlc.LockAbandonedRow, emissions []Emission, lease time.Duration) error {
	if !row.IsClaim {
		return q.DeletePublished(ctx, []int64{row.ID})
	}
	ids, claims := make([]message.ID, len(emissions)), make([]int64, len(emissions))
	for i, e := range emissions {
		ids[i], claims[i] = e.ID, e.Claim
	}
	if err := q.RenewLeases(ctx, lease, ids, claims); err != nil {
		return err
	}
	_, err := q.FinishClaim(ctx, int32(len(emissions)), row.ID)
	return err
}

// UnpublishedClaims returns how many claims are made and not yet published:
// 0 or 1.
func (s *Store) UnpublishedClaims(ctx context.Context) (int64, error) {
	n, err := s.queries.UnpublishedClaims(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for unpublished claims: %w", err)
	}
	return n, nil
}

func lostIDs(lost []Lost) []message.ID {
	ids := make([]message.ID, len(lost))
	for i, l := range lost {
		ids[i] = l.ID
	}
	return ids
}

func lostClaims(lost []Lost) []int64 {
	claims := make([]int64, len(lost))
	for i, l := range lost {
		claims[i] = l.Claim
	}
	return claims
}
