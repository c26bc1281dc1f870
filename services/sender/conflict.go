package sender

import (
	"context"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// textInProgress is what a 409 means after an attempt that may have arrived.
const textInProgress = "status 409: an earlier attempt may have reached the webhook, which may still work on it"

// settleConflict judges a 409 together with the attempts before it. If one of
// them may have reached the receiver, the message is not refused: the receiver
// knows its Idempotency-Key from that attempt. Without Postgres nothing is
// known of them, and another attempt does no harm.
func (s *sender) settleConflict(ctx context.Context, it *item, a answer) answer {
	if a.verdict != message.Conflict {
		return a
	}
	try, cancel := context.WithTimeout(ctx, publishTry)
	defer cancel()
	recorded, err := s.store.AttemptOutcomes(try, it.ID)
	if err != nil {
		s.log.Debug("look for earlier attempts", zap.String("error", service.Redact(err.Error())))
	}
	a.verdict = a.verdict.Settle(err != nil || message.EarlierOutcomeUnknown(recorded, it.Claim, it.Delivery))
	if a.verdict == message.Retryable {
		a.text = textInProgress
	}
	return a
}
