package accept

import (
	"context"
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// lateDrafts are those with which nothing is wrong but that they have expired.
// Such a draft may repeat what was stored when there was time left, by a
// client that got no answer then: it must not be told that it is refused.
type lateDrafts struct {
	places []int // in the drafts
	wanted []message.Message
}

// add takes a draft that was refused, if it is one of these.
func (l *lateDrafts) add(a *Acceptor, d Draft, place int, refusal error) {
	var invalid *message.ValidationError
	if !errors.As(refusal, &invalid) || len(invalid.Errors) != 1 || invalid.Errors[0].Field != "expiresAt" {
		return
	}
	d.At = time.Unix(0, 0) // nothing has expired by then
	if m, err := a.read(d, place); err == nil && m.IdempotencyKey != "" {
		l.places, l.wanted = append(l.places, place), append(l.wanted, m)
	}
}

// judge answers those whose key is known like any repeat. The others stay
// refused.
func (l *lateDrafts) judge(ctx context.Context, store *db.Store, results []Result) {
	if len(l.wanted) == 0 {
		return
	}
	firsts, err := store.FindByIdempotencyKey(ctx, l.wanted)
	for i, place := range l.places {
		switch {
		case err != nil:
			results[place].Err = err
		case firsts[i] != nil:
			results[place] = judge(l.wanted[i], outcome{stored: db.InsertResult{Message: *firsts[i]}})
		}
	}
}
