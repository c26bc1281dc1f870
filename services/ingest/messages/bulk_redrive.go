package messages

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// Bounds of a bulk retry.
const (
	bulkBatch = 1000 // messages of a transaction

)

// BulkResult is what became of it.
type BulkResult struct {
	Matched int64 `json:"matched"` // when it began
	Retried int64 `json:"retried"`
	DryRun  bool  `json:"dryRun"`
	More    bool  `json:"more,omitempty"` // time was up: asking again goes on
}

// RetryMany brings back all that a filter matches, in batches of their own
// transactions, none of which begins after the deadline. What it has retried
// stays so whatever becomes of the rest; it may be repeated.
func (u *Service) RetryMany(ctx context.Context, r request.BulkRedrive, deadline time.Time) (BulkResult, error) {
	done := BulkResult{DryRun: r.DryRun}
	var err error
	if done.Matched, err = u.countRetryable(ctx, r.Filter); err != nil || r.DryRun {
		return done, err
	}
	var after message.ID
	for moved := make([]message.ID, bulkBatch); len(moved) == bulkBatch; {
		if !time.Now().Before(deadline) {
			done.More = true
			break
		}
		if moved, after, err = u.retryBatch(ctx, r.Filter, after); err != nil {
			return done, err
		}
		failpoint.At(failpoint.RedriveBatchStored)
		done.Retried += int64(len(moved))
		jetstream.Wake(u.js)
		u.recache(moved)
	}
	return done, nil
}

func (u *Service) countRetryable(ctx context.Context, filter db.RedriveFilter) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.CountRedrivable(ctx, filter)
}

func (u *Service) retryBatch(ctx context.Context, filter db.RedriveFilter, after message.ID) (moved []message.ID, last message.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.RedriveBatch(ctx, filter, after, bulkBatch)
}
