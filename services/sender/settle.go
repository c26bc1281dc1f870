package sender

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/outcome"
)

const (
	publishPause   = 100 * time.Millisecond // between two tries
	confirmTimeout = 2 * time.Second        // for one confirmed ack
	confirmTries   = 3
)

// settleStage publishes the outcome and then ends the delivery, in this order:
// a delivery that comes again meets an outcome that is on record, or on its way
// there.
type settleStage struct {
	log       *zap.Logger
	queue     *deliveries.Receiver
	publisher *outcome.Publisher
	events    events.EventBuilder
	decider   *outcome.Decider
	clock     *clock
	away      *backpressure.Outage // of the stream of events
	metrics   *metrics
}

func newSettleStage(p parts) *settleStage {
	return &settleStage{
		log: p.log, queue: p.queue, publisher: p.publisher, events: p.builder, clock: p.clock, away: &p.state.events, metrics: p.metrics,
		decider: outcome.NewDecider(p.cfg.backoff(), &p.clock.ClockSkew, p.naks),
	}
}

func (s *settleStage) run(ctx context.Context, d *delivery) step {
	var out outcome.Outcome
	if d.expired {
		out = s.decider.Expired(d.Delivery, d.row)
	} else {
		out = s.decider.Attempted(d.Delivery, d.row, d.result)
		s.metrics.attempted(out.Report.Attempt)
	}
	if !s.publish(ctx, s.events.Outcome(out.Event, out.Message, out.Report)) {
		s.log.Warn("status event not published before the shutdown; the delivery is repeated", zap.Stringer("message", d.ID))
		return done
	}
	failpoint.At(failpoint.SenderPublished)
	switch out.Disposition {
	case outcome.Ack:
		_ = d.Ack() // if it gets lost, the gate discards the next delivery
	case outcome.Nak:
		s.nak(ctx, d, *out.Message.NextAttemptAt)
	case outcome.Reschedule:
		if err := s.reschedule(ctx, d, out.Message); err != nil {
			s.log.Info("left a retry to the sender that has the delivery now", zap.Error(err))
			return done
		}
		failpoint.At(failpoint.SenderScheduled)
		confirmAck(ctx, d)
	case outcome.Abandon:
	}
	failpoint.At(failpoint.SenderEnded)
	return done
}

// publish publishes an event until it is acknowledged; it returns false if ctx
// ends first. It goes on after the lease has expired: what came of an attempt
// must be known, however late, and the recorder knows what it is still worth.
func (s *settleStage) publish(ctx context.Context, event events.OutboxMessage) bool {
	return s.untilPublished(ctx, func(ctx context.Context) error { return s.publisher.Publish(ctx, event) }) == nil
}

// reschedule publishes a retry's schedule until it is acknowledged. It returns
// an error if ctx ends first, and deliveries.ErrNotHeld if another sender has the
// delivery: that one finds the retry on record and makes the schedule.
func (s *settleStage) reschedule(ctx context.Context, d *delivery, m message.Message) error {
	next := *m.NextAttemptAt
	return s.untilPublished(ctx, func(ctx context.Context) error {
		due := s.clock.onNATS(next) // NATS keeps the schedule by its own clock
		m.NextAttemptAt = &due
		return s.queue.ScheduleRetry(ctx, d.Delivery, s.events.ScheduledRetry(m))
	})
}

// untilPublished publishes until it succeeds, ctx ends or the delivery is lost.
// Meanwhile the lease is extended and no new work begins.
func (s *settleStage) untilPublished(ctx context.Context, publish func(context.Context) error) error {
	s.metrics.unpublished.Inc()
	defer s.metrics.unpublished.Dec()
	away := false
	err := service.Retry{
		First: publishPause, Longest: publishPause,
		Final: func(err error) bool { return errors.Is(err, deliveries.ErrNotHeld) },
		Report: func(err error) {
			failpoint.At(failpoint.SenderPublishFailed)
			if !away && s.away.Begin() {
				s.log.Warn("events can't be published; taking no new work", zap.String("error", redact.Text(err.Error())))
			}
			away = true
		},
	}.Do(ctx, publish)
	if away && s.away.End() && ctx.Err() == nil {
		s.log.Info("events are published again")
	}
	return err
}

// nak returns the delivery until a time. Without a connection it tries again
// until ctx ends or the lease has expired; then the server delivers it by
// itself.
func (s *settleStage) nak(ctx context.Context, d *delivery, until time.Time) {
	_ = service.Retry{First: publishPause, Longest: publishPause}.Do(ctx, func(context.Context) error {
		return d.Nak(max(s.clock.Until(until), time.Millisecond))
	})
}

// confirmAck ends the delivery whose successor is scheduled. One that stays
// nevertheless comes again under a claim that the row has left behind.
func confirmAck(ctx context.Context, d *delivery) {
	for range confirmTries {
		try, cancel := context.WithTimeout(ctx, confirmTimeout)
		err := d.DoubleAck(try)
		cancel()
		if err == nil || !service.Sleep(ctx, publishPause) {
			return
		}
	}
}
