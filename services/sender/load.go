package sender

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/inflight"
)

const (
	// maxLoadPause bounds the pause between two loads, which otherwise lasts as
	// long as the load.
	maxLoadPause = 5 * time.Millisecond

	// A thousand requests with large payloads would take all memory. From
	// maxPayloads bytes on, nothing more is loaded until some are gone.
	// payloadsPerQuery is how much one query returns.
	maxPayloads      = 64 << 20
	payloadsPerQuery = 8 << 20
	payloadPause     = 5 * time.Millisecond
)

// loadStage reads the rows of a batch.
type loadStage struct {
	log      *zap.Logger
	store    *db.Store
	inFlight *inflight.Set
	postgres *backpressure.Outage
}

// run reads the rows of a batch, as many as their payloads allow at once, and
// returns the rest as later. Both are empty if ctx ends. While Postgres is away
// it tries again and again, also while commits are lost that are not yet
// restored; no new ids are pulled meanwhile.
func (s *loadStage) run(ctx context.Context, batch []*delivery) (loaded, later []*delivery) {
	for s.inFlight.PayloadBytes() >= maxPayloads {
		if !service.Sleep(ctx, payloadPause) {
			return nil, nil
		}
	}
	queued, ok := s.query(ctx, batch)
	if !ok {
		return nil, nil
	}
	for _, d := range batch {
		if queued.Deferred[d.ID] {
			later = append(later, d)
			continue
		}
		d.row, d.found = queued.Messages[d.ID]
		loaded = append(loaded, d)
	}
	return loaded, later
}

// query runs one query. All deliveries of a batch are verified, or none is.
func (s *loadStage) query(ctx context.Context, batch []*delivery) (db.LoadedMessages, bool) {
	load := s.store.LoadQueued
	if batch[0].verified {
		load = s.store.LoadVerified
	}
	ids := make([]message.ID, len(batch))
	for i, d := range batch {
		ids[i] = d.ID
	}
	away := false
	var queued db.LoadedMessages
	err := service.WaitFor(ctx, s.log, "postgres", func(ctx context.Context) error {
		var err error
		queued, err = load(ctx, ids, payloadsPerQuery)
		if err != nil && !away {
			away = true
			s.postgres.Begin()
		}
		return err
	})
	if away {
		s.postgres.End()
	}
	return queued, err == nil
}
