package sender

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

const (
	publishPause = 100 * time.Millisecond // between two tries
	confirmTry   = 2 * time.Second        // for one confirmed ack
	confirmTries = 3
)

// deliver makes one attempt and ends the delivery. ctx bounds what is in
// flight; it outlives the sender's own by the time of a drain. It is false
// when this machine had no connection to spare: another attempt at once would
// only take one more message from the senders that have.
func (s *sender) deliver(ctx context.Context, it *item) bool {
	defer s.hand.drop(it)
	if !it.Outlasts(s.webhook.longest()) {
		s.metrics.unsent.WithLabelValues(string(reasonLapsed)).Inc()
		return true
	}
	if expires := it.row.ExpiresAt; expires != nil && !s.clock.Now().Before(*expires) {
		failpoint.At(failpoint.SenderExpired)
		s.finish(ctx, it, s.expired(it, s.clock.Now()))
		return true
	}
	s.metrics.inFlight.Inc()
	number := it.row.Attempts + 1
	failpoint.At(failpoint.SenderPosting)
	a := s.webhook.attempt(ctx, it.row, number)
	failpoint.At(failpoint.SenderPosted)
	s.metrics.inFlight.Dec()
	if ctx.Err() != nil && a.status == 0 {
		s.log.Warn("request cut off by the shutdown; it is made again", zap.Stringer("message", it.ID))
		return true
	}
	s.opening.Report(a.unsent)
	opened := a.unsent == nil
	switch {
	case opened:
		s.unsent.forget(it.ID)
	case s.unsent.tooLong(it.ID):
		a = counted(a)
	default:
		s.metrics.unsent.WithLabelValues(string(reasonExhausted)).Inc()
		s.wait(ctx, it, s.clock.Now().Add(exhaustedPause))
		return false
	}
	out := s.attempted(it, number, s.settleConflict(ctx, it, a))
	s.metrics.attempted(out.told.Attempt)
	s.finish(ctx, it, out)
	return opened
}

// finish tells the outcome and then ends the delivery, in this order: a copy
// that is delivered again meets an outcome that is on record, or on its way
// there.
func (s *sender) finish(ctx context.Context, it *item, out outcome) {
	if !s.tell(ctx, s.composer.Finished(out.kind, out.message, out.told)) {
		s.log.Warn("status event not published before the shutdown; the delivery is repeated", zap.Stringer("message", it.ID))
		return
	}
	failpoint.At(failpoint.SenderPublished)
	switch out.then {
	case take:
		_ = it.Ack() // lost, it means one more delivery, which the gate discards
	case nak:
		s.wait(ctx, it, *out.message.NextAttemptAt)
	case park:
		if err := s.park(ctx, it, out.message); err != nil {
			s.log.Info("left a retry to whoever has the delivery now", zap.Error(err))
			return
		}
		failpoint.At(failpoint.SenderScheduled)
		confirm(ctx, it)
	case leave:
	}
	failpoint.At(failpoint.SenderEnded)
}

// tell publishes an event until it is acknowledged; false when ctx ends first.
// It goes on when the copy has lapsed: what came of an attempt is to be known
// however late, and the recorder knows what it is still worth.
func (s *sender) tell(ctx context.Context, entry events.Entry) bool {
	return s.persist(ctx, func(ctx context.Context) error { return s.teller.Tell(ctx, entry) }) == nil
}

// park publishes a retry's schedule until it is acknowledged. It returns an
// error when ctx ends first, and events.ErrNotHeld when the copy has become
// somebody else's: whoever has it finds the retry on record and parks it.
func (s *sender) park(ctx context.Context, it *item, m message.Message) error {
	return s.persist(ctx, func(ctx context.Context) error { return s.queue.Park(ctx, it.Copy, s.schedule(m)) })
}

// persist publishes until it succeeds, or ctx ends, or the copy is lost.
// Meanwhile the copy is kept and no new work is begun.
func (s *sender) persist(ctx context.Context, publish func(context.Context) error) error {
	s.metrics.untold.Inc()
	defer s.metrics.untold.Dec()
	for away := false; ; {
		err := publish(ctx)
		if err == nil || errors.Is(err, events.ErrNotHeld) {
			if away && s.eventsAway.end() {
				s.log.Info("events are published again")
			}
			return err
		}
		failpoint.At(failpoint.SenderPublishFailed)
		if !away {
			away = true
			if s.eventsAway.begin() {
				s.log.Warn("events can't be published; taking no new work", zap.String("error", service.Redact(err.Error())))
			}
		}
		if !pause(ctx, publishPause) {
			s.eventsAway.end()
			return ctx.Err()
		}
	}
}

// wait gives the copy back until next. Without a connection it tries again
// for as long as the hold lasts; then the server delivers the copy by itself.
func (s *sender) wait(ctx context.Context, it *item, next time.Time) {
	for it.Nak(max(s.clock.Until(next), time.Millisecond)) != nil {
		if !pause(ctx, publishPause) {
			return
		}
	}
}

// confirm ends the copy whose successor is parked. One that stays behind all
// the same comes again under a claim that the row has left behind.
func confirm(ctx context.Context, it *item) {
	for range confirmTries {
		try, cancel := context.WithTimeout(ctx, confirmTry)
		err := it.DoubleAck(try)
		cancel()
		if err == nil || !pause(ctx, publishPause) {
			return
		}
	}
}
