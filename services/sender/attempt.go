package sender

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// attemptStage makes one attempt.
type attemptStage struct {
	log       *zap.Logger
	transport transport.Transport
	clock     *clock
	state     *conditions
	metrics   *metrics
	settle    *settleStage

	local backpressure.LocalFailures
}

func (s *attemptStage) run(ctx context.Context, d *delivery) step {
	if expires := d.row.ExpiresAt; expires != nil && !s.clock.Now().Before(*expires) {
		failpoint.At(failpoint.SenderExpired)
		d.expired = true
		return next
	}
	s.send(ctx, d)
	if ctx.Err() != nil && d.failure != nil {
		s.log.Warn("request cut off by the shutdown; it is made again", zap.Stringer("message", d.ID))
		return done
	}
	if d.failure == nil || !d.failure.Local {
		s.state.connections.Report(nil)
		s.local.Forget(d.ID)
		return next
	}
	s.state.connections.Report(d.failure.Err)
	if s.local.TooLong(d.ID) {
		d.took = 0
		return next
	}
	s.metrics.unsent.WithLabelValues(string(reasonNoConnection)).Inc()
	s.settle.nak(ctx, d, s.clock.Now().Add(backpressure.LocalPause))
	return done
}

func (s *attemptStage) send(ctx context.Context, d *delivery) {
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()
	failpoint.At(failpoint.SenderPosting)
	began := time.Now()
	d.started = s.clock.At(began)
	response, err := s.transport.Send(ctx, d.request)
	d.took, d.response = time.Since(began), response
	failpoint.At(failpoint.SenderPosted)
	if err != nil && !errors.As(err, &d.failure) {
		d.failure = &transport.Error{Text: transport.ErrorText(err), Err: err}
	}
}
