package accept

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// storeTimeout bounds how long a request waits for its transaction.
const storeTimeout = 10 * time.Second

// Acceptor validates messages and stores them. Its methods are safe for
// concurrent use. db.ProblemOf describes the errors that they return.
type Acceptor struct {
	rules     message.Rules
	store     *db.Store
	committer *Committer
	now       func() time.Time
}

// New returns an acceptor that validates by rules and stores with committer.
func New(rules message.Rules, store *db.Store, committer *Committer) *Acceptor {
	return &Acceptor{rules: rules, store: store, committer: committer, now: time.Now}
}

// Accepted is a stored message.
type Accepted struct {
	Message  message.Message
	Repeated bool // it was stored before, under the same idempotency key
}

// Result is the result of one draft.
type Result struct {
	Accepted
	Err error
}

// Create stores one message. It returns ErrKeyReused, ErrOverloaded,
// ErrTimeout, a *message.MalformedError, a *message.ValidationError or an error
// of the database.
func (a *Acceptor) Create(ctx context.Context, d Draft) (Accepted, error) {
	r := a.CreateMany(ctx, []Draft{d})[0]
	if r.Err == nil && r.Repeated {
		// CreateMany returns repeated messages without their payload.
		first, err := a.get(ctx, r.Message.ID)
		return Accepted{Message: first, Repeated: true}, err
	}
	return r.Accepted, r.Err
}

func (a *Acceptor) get(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return a.store.Get(ctx, id)
}

// CreateMany stores the valid drafts, even if others are invalid. It returns the
// result of each draft, in their order; the errors are those of Create.
func (a *Acceptor) CreateMany(ctx context.Context, drafts []Draft) []Result {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	results := make([]Result, len(drafts))
	valid := make([]message.Message, 0, len(drafts))
	indexes := make([]int, 0, len(drafts)) // of the valid ones in drafts
	firsts := map[[2]string]int{}          // index of the first draft of each idempotency key
	repeats := map[int]repeat{}
	var expired expiredDrafts
	for i, d := range drafts {
		m, err := a.parse(d, i)
		if err != nil {
			results[i].Err = err
			expired.add(a, d, i, err)
			continue
		}
		if m.IdempotencyKey != "" {
			key := [2]string{m.Scope, m.IdempotencyKey}
			if first, known := firsts[key]; known {
				repeats[i] = repeat{of: first, message: m}
				continue
			}
			firsts[key] = i
		}
		valid, indexes = append(valid, m), append(indexes, i)
	}
	for n, r := range a.committer.submit(ctx, valid) {
		results[indexes[n]] = resultOf(valid[n], r)
	}
	for i, r := range repeats {
		results[i] = r.resultAfter(results[r.of])
	}
	expired.findReplays(ctx, a.store, results)
	failpoint.At(failpoint.IngestUnanswered)
	return results
}

// repeat is a draft with the idempotency key of an earlier draft in the same
// call. It is not stored: the database might store it as the first of the two.
type repeat struct {
	of      int // index of the earlier draft
	message message.Message
}

func (r repeat) resultAfter(first Result) Result {
	if first.Err != nil && !errors.Is(first.Err, ErrKeyReused) {
		return first
	}
	return resultOf(r.message, storeResult{inserted: db.InsertResult{Message: first.Message}})
}

// resultOf distinguishes a repeated message from another message with the same key.
func resultOf(wanted message.Message, r storeResult) Result {
	first := r.inserted.Message
	switch {
	case r.err != nil:
		return Result{Err: r.err}
	case r.inserted.Created:
		return Result{Accepted: Accepted{Message: first}}
	case !bytes.Equal(first.BodyHash, wanted.BodyHash):
		return Result{Accepted: Accepted{Message: first}, Err: ErrKeyReused}
	}
	return Result{Accepted: Accepted{Message: first, Repeated: true}}
}
