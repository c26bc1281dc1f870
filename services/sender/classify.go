package sender

import (
	"context"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/destination"
	"github.com/message-dispatcher/dispatch/services/sender/outcome"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// classifyStage judges what an attempt has shown.
type classifyStage struct {
	log         *zap.Logger
	destination *destination.Destination
	store       *db.Store
}

func (s *classifyStage) run(ctx context.Context, d *delivery) step {
	if d.expired {
		return next
	}
	d.result = outcome.Result{Attempt: message.Attempt{Number: d.number, StartedAt: d.started, Duration: d.took}}
	if d.failure != nil {
		d.result.Unsent = d.failure.NotSent
		d.result.Judgement = destination.Judgement{Class: message.Retryable, Text: d.failure.Text}
		if d.failure.Local {
			d.result.Text = "this machine has had no connection to spare for " + backpressure.LocalLimit.String() + ": " + d.failure.Text
		}
		return next
	}
	d.result.HTTPStatus = d.response.Status
	d.result.Response = transport.CleanText(d.response.Body, message.ResponseKept)
	d.result.Judgement = s.destination.Classify(d.response, d.started.Add(d.took))
	if d.result.Class == message.Conflict {
		s.resolveConflict(ctx, d)
	}
	return next
}

// textInProgress is what a 409 means after an attempt that may have arrived.
const textInProgress = "status 409: an earlier attempt may have reached the webhook, which may still work on it"

// resolveConflict judges a 409 together with the attempts before it. If one of
// them may have reached the receiver, the message is not refused: the receiver
// knows its Idempotency-Key from that attempt. While Postgres is away nothing is
// known about them, and another attempt does no harm.
func (s *classifyStage) resolveConflict(ctx context.Context, d *delivery) {
	try, cancel := context.WithTimeout(ctx, outcome.PublishTimeout)
	defer cancel()
	recorded, err := s.store.AttemptOutcomes(try, d.ID)
	if err != nil {
		s.log.Debug("look for earlier attempts", zap.String("error", redact.Text(err.Error())))
	}
	unknown := err != nil || message.EarlierOutcomeUnknown(recorded, d.ClaimNumber, d.DeliveryCount)
	d.result.Class = d.result.Class.Settle(unknown)
	if d.result.Class == message.Retryable {
		d.result.Text = textInProgress
	}
}
