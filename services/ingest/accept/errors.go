package accept

import (
	"net/http"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// The errors of this package. Each is a *message.Problem. Methods also return
// errors of the database and of the request; db.ProblemOf describes them all.
var (
	// ErrKeyReused means that the idempotency key belongs to a message with
	// another body.
	ErrKeyReused error = message.NewProblem(http.StatusConflict, message.ProblemKeyReused,
		"this idempotency key was used before, for another message")
	// ErrOverloaded means that the queue is full.
	ErrOverloaded error = message.NewRetryableProblem(http.StatusTooManyRequests, message.ProblemOverloaded,
		"too many messages wait to be stored", message.RetrySoon)
	// ErrTimeout means that the database did not confirm in time. The message may
	// be stored.
	ErrTimeout error = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable,
		"the database did not confirm in time; the message may be stored all the same: repeat the request under an idempotency key", message.RetryLater)
)
