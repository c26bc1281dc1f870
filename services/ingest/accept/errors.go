package accept

import (
	"net/http"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// What Store and Create return besides errors of the database and of the
// request itself.
var (
	// errKeyReused is a known idempotency key with another body.
	errKeyReused error = message.NewProblem(http.StatusConflict, message.ProblemKeyReused, "this idempotency key was used before, for another message")
	// ErrOverloaded is a full queue.
	ErrOverloaded error = message.NewRetryableProblem(http.StatusTooManyRequests, message.ProblemOverloaded, "too many messages wait to be stored", message.RetrySoon)
	// ErrTimeout is a store that did not answer in time; the message may be
	// stored all the same.
	ErrTimeout error = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable,
		"the database did not confirm in time; the message may be stored all the same: repeat the request under an idempotency key", message.RetryLater)
)
