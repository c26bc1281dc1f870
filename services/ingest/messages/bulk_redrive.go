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

// redriveBatch is how many messages one transaction redrives.
const redriveBatch = 1000

// BulkResult is the result of a bulk redrive.
type BulkResult struct {
	Matched int64 `json:"matched"` // messages that matched when it began
	Retried int64 `json:"retried"`
	DryRun  bool  `json:"dryRun"`
	More    bool  `json:"more,omitempty"` // the time is up; the same request continues
}

// RedriveMany redrives all messages that match a filter. Each batch has its own
// transaction, and none begins after the deadline. If it fails, the batches
// before stay redriven and the result counts them. It may be repeated.
func (s *Service) RedriveMany(ctx context.Context, r request.BulkRedrive, deadline time.Time) (BulkResult, error) {
	result := BulkResult{DryRun: r.DryRun}
	var err error
	if result.Matched, err = s.countRedrivable(ctx, r.Filter); err != nil || r.DryRun {
		return result, err
	}
	var after message.ID
	for redriven := make([]message.ID, redriveBatch); len(redriven) == redriveBatch; {
		if !time.Now().Before(deadline) {
			result.More = true
			break
		}
		if redriven, after, err = s.redriveBatch(ctx, r.Filter, after); err != nil {
			return result, err
		}
		failpoint.At(failpoint.RedriveBatchStored)
		result.Retried += int64(len(redriven))
		jetstream.Wake(s.js)
		s.refreshCache(redriven)
	}
	return result, nil
}

func (s *Service) countRedrivable(ctx context.Context, filter db.RedriveFilter) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.store.CountRedrivable(ctx, filter)
}

func (s *Service) redriveBatch(ctx context.Context, filter db.RedriveFilter, after message.ID) (redriven []message.ID, last message.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.store.RedriveBatch(ctx, filter, after, redriveBatch)
}
