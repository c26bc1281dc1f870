package sender

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/services/sender/inflight"
	"github.com/message-dispatcher/dispatch/services/sender/outcome"
)

// gateStage lets through only what must be sent: a message that is QUEUED or
// RETRYING, under a claim that is not newer than the delivery's.
type gateStage struct {
	log        *zap.Logger
	clock      *clock
	queue      *deliveries.Receiver
	inFlight   *inflight.Set
	release    releaser
	settle     *settleStage
	unverified chan *delivery
}

func (s *gateStage) run(ctx context.Context, d *delivery) step {
	switch {
	case !d.verified && d.found && (d.row.ClaimNumber != d.ClaimNumber || d.row.Status != message.Queued):
		// A first delivery finds its row as the claim left it, so this is none.
		d.First = false
		s.unverified <- d
		return done
	case d.verified && d.found && d.row.Status == message.Retrying && d.row.ClaimNumber == d.ClaimNumber+1:
		s.supersede(ctx, d)
		return done
	case !d.found:
		s.release.discard(d.Entry, reasonEnded)
		return done
	case d.row.ClaimNumber > d.ClaimNumber:
		s.release.discard(d.Entry, reasonSuperseded)
		return done
	case d.row.NextAttemptAt != nil && s.clock.Until(*d.row.NextAttemptAt) > 0:
		s.release.giveBack(d.Entry, s.clock.Until(*d.row.NextAttemptAt), reasonNotDue)
		return done
	case d.row.ClaimNumber < d.ClaimNumber:
		// The event that made this claim is lost: the recorder has passed
		// everything and does not know it. The delivery itself proves the claim,
		// and an ended message has no delivery. So it is sent, and its outcome
		// raises the row to the delivery's claim.
		s.log.Warn("claim of a delivery was never recorded",
			zap.Stringer("message", d.ID), zap.Int64("claim", int64(d.ClaimNumber)), zap.Int64("recorded", int64(d.row.ClaimNumber)))
	}
	s.inFlight.SetPayload(d.Entry, len(d.row.Payload))
	failpoint.At(failpoint.SenderLoaded)
	return next
}

// supersede ends a delivery whose attempt is recorded, and whose retry comes
// under the next claim. A sender that died between publishing the outcome and
// making the schedule leaves such a delivery as the last on its subject. Then
// the schedule is made now, and the retry does not wait for its lease.
func (s *gateStage) supersede(ctx context.Context, d *delivery) {
	try, cancel := context.WithTimeout(ctx, outcome.PublishTimeout)
	unscheduled, err := s.queue.LacksRetry(try, d.Delivery, d.row.Destination)
	cancel()
	if err != nil {
		s.log.Debug("look for the schedule of a retry", zap.String("error", redact.Text(err.Error())))
		s.release.giveBack(d.Entry, recorderWait, reasonSuperseded)
		return
	}
	if unscheduled {
		err := s.settle.reschedule(ctx, d, d.row)
		if ctx.Err() != nil {
			return // the drain returns the delivery
		}
		if err == nil {
			s.log.Info("made the missing schedule of a retry", zap.Stringer("message", d.ID))
		}
	}
	s.release.discard(d.Entry, reasonSuperseded)
}

// releaser ends deliveries that are not sent.
type releaser struct {
	log      *zap.Logger
	metrics  *metrics
	inFlight *inflight.Set
}

// discard takes a worthless delivery off the queue. Should the ack get lost,
// the delivery comes once more and is discarded again.
func (r releaser) discard(d *inflight.Entry, why reason) {
	r.count(why)
	failpoint.At(failpoint.SenderDropping)
	if err := d.Ack(); err != nil {
		r.log.Debug("discard delivery", zap.Error(err))
	}
	r.inFlight.Remove(d)
}

// giveBack returns a delivery to the queue for a while. If that fails, the
// server does it after the ack wait.
func (r releaser) giveBack(d *inflight.Entry, delay time.Duration, why reason) {
	r.count(why)
	if err := d.Nak(delay); err != nil {
		r.log.Debug("return delivery", zap.Error(fmt.Errorf("%s: %w", why, err)))
	}
	r.inFlight.Remove(d)
}

// count counts a delivery that was not sent.
func (r releaser) count(why reason) { r.metrics.unsent.WithLabelValues(string(why)).Inc() }
