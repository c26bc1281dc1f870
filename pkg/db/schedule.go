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

// DefaultBatchSize is how many messages a tick emits when no batch size is
// set: 2 with an interval, 500 in the continuous mode.
func DefaultBatchSize(interval time.Duration, configured int) int {
	switch {
	case configured > 0:
		return configured
	case interval > 0:
		return 2
	}
	return 500
}

// ProvisionSchedule sets interval and batch size (0: by the mode) at the
// first start, and later only where they differ from what it was given last:
// what a user configures since outlives a restart.
func (s *Store) ProvisionSchedule(ctx context.Context, interval time.Duration, batchSize int) error {
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) error {
		if err := q.LockFastPath(ctx, fastPathLock); err != nil {
			return err
		}
		return last.ProvisionSchedule(ctx, interval, set(int32(batchSize)))
	})
	if err != nil {
		return fmt.Errorf("provision schedule: %w", err)
	}
	return nil
}

// CheckSchedule returns ErrNotProvisioned while there is no schedule.
func (s *Store) CheckSchedule(ctx context.Context) error {
	_, err := s.queries.GetSchedule(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotProvisioned
	}
	if err != nil {
		return fmt.Errorf("read schedule: %w", err)
	}
	return nil
}

// SetRunning starts or stops the ticks, and what is emitted on arrival, and
// reports whether that changed anything. Once it has returned with running
// false nothing is claimed; what was claimed before may still have to be
// published.
func (s *Store) SetRunning(ctx context.Context, running bool) (changed bool, err error) {
	err = s.inTx(ctx, func(q, last *dbsqlc.Queries) (err error) {
		if err := q.LockFastPath(ctx, fastPathLock); err != nil {
			return err
		}
		changed, err = last.SetRunning(ctx, running)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, ErrNotProvisioned
	}
	if err != nil {
		return false, fmt.Errorf("set running to %t: %w", running, err)
	}
	return changed, nil
}

// Configure changes the interval, the batch size or both; nil leaves one as
// it is. The next tick comes at the earlier of its old time and the last tick
// plus the new interval.
func (s *Store) Configure(ctx context.Context, interval *time.Duration, batchSize *int) error {
	var size *int32
	if batchSize != nil {
		size = set(int32(*batchSize))
	}
	var n int64
	err := s.inTx(ctx, func(q, last *dbsqlc.Queries) (err error) {
		if err := q.LockFastPath(ctx, fastPathLock); err != nil {
			return err
		}
		n, err = last.Configure(ctx, interval, size)
		return err
	})
	if err != nil {
		return fmt.Errorf("configure schedule: %w", err)
	}
	if n == 0 {
		return ErrNotProvisioned
	}
	return nil
}

// Overview measures where everything stands, all but Instances. It counts
// nothing: the counts are kept with every change, so that the table's size
// does not matter.
func (s *Store) Overview(ctx context.Context) (message.Overview, error) {
	schedule, err := s.queries.GetSchedule(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return message.Overview{}, ErrNotProvisioned
	}
	if err != nil {
		return message.Overview{}, fmt.Errorf("read schedule: %w", err)
	}
	counts, err := s.counts.read(ctx, s.queries)
	if err != nil {
		return message.Overview{}, err
	}
	oldest, err := s.queries.OldestPending(ctx, message.DefaultDestination, noWatermark, claimMargin)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return message.Overview{}, fmt.Errorf("look up oldest pending message: %w", err)
	}
	overview := message.Overview{
		State:           message.StateStopped,
		Interval:        message.Duration(schedule.TickInterval),
		BatchSize:       DefaultBatchSize(schedule.TickInterval, int(value(schedule.BatchSize))),
		LastTickAt:      schedule.LastTickAt,
		NextTickAt:      schedule.NextTickAt,
		Wait:            schedule.Wait,
		LastBatch:       int(schedule.LastBatchSize),
		Counts:          counts,
		OldestPendingAt: set(oldest.DeliverAt),
	}
	if schedule.Running {
		overview.State = message.StateRunning
	}
	return overview, nil
}
