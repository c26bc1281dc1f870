package accept

import (
	"context"
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// expiredDrafts are drafts with one validation error: they have expired. Such a
// draft may repeat a request that was in time, from a client that got no
// response. That client must get the stored message, not an error.
type expiredDrafts struct {
	indexes  []int // in the drafts
	messages []message.Message
}

// add adds a rejected draft if expiry is its only error.
func (e *expiredDrafts) add(a *Acceptor, d Draft, index int, rejection error) {
	var invalid *message.ValidationError
	if !errors.As(rejection, &invalid) || len(invalid.Errors) != 1 || invalid.Errors[0].Field != "expiresAt" {
		return
	}
	d.At = time.Unix(0, 0) // nothing had expired by then
	if m, err := a.parse(d, index); err == nil && m.IdempotencyKey != "" {
		e.indexes, e.messages = append(e.indexes, index), append(e.messages, m)
	}
}

// findReplays replaces the results of drafts whose idempotency key is known. The
// others stay rejected.
func (e *expiredDrafts) findReplays(ctx context.Context, store *db.Store, results []Result) {
	if len(e.messages) == 0 {
		return
	}
	firsts, err := store.FindByIdempotencyKey(ctx, e.messages)
	for i, index := range e.indexes {
		switch {
		case err != nil:
			results[index].Err = err
		case firsts[i] != nil:
			results[index] = resultOf(e.messages[i], storeResult{inserted: db.InsertResult{Message: *firsts[i]}})
		}
	}
}
