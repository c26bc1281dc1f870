package ingest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// storeWait bounds the waiting of a request for its transaction.
const storeWait = 10 * time.Second

// acceptor checks and stores messages, for HTTP, the micro service and the NATS
// intake alike. Its methods are safe for concurrent use. They return the errors
// that db.ProblemOf knows.
type acceptor struct {
	rules  message.Rules
	store  *db.Store
	commit *committer
}

// newAcceptor returns an acceptor that has a committer store.
func newAcceptor(rules message.Rules, store *db.Store, commit *committer) *acceptor {
	return &acceptor{rules: rules, store: store, commit: commit}
}

// draft is a request to store a message.
type draft struct {
	body        []byte
	scope       string     // whose idempotency keys it is about
	key         givenKey   // what came beside the body
	destination string     // the one it was sent to; empty for the body's
	id          message.ID // zero: a fresh one
	at          time.Time  // what counts as now for its deadlines
	trace       message.Trace
}

// givenKey is an idempotency key that came in a header.
type givenKey struct {
	header string   // its name, for the mistakes
	values []string // as often as it was given
}

// accepted is a stored message.
type accepted struct {
	message  message.Message
	repeated bool // it was stored before, under the same key
}

// result is what became of a draft.
type result struct {
	accepted
	err error
}

// Create stores one message.
func (a *acceptor) Create(ctx context.Context, d draft) (accepted, error) {
	r := a.CreateMany(ctx, []draft{d})[0]
	if r.err == nil && r.repeated {
		// Among the first ones of a group are none of their payloads.
		first, err := a.get(ctx, r.message.ID)
		return accepted{message: first, repeated: true}, err
	}
	return r.accepted, r.err
}

func (a *acceptor) get(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return a.store.Get(ctx, id)
}

// CreateMany stores the drafts that are good, whatever the others are, and
// returns what became of each, in their order.
func (a *acceptor) CreateMany(ctx context.Context, drafts []draft) []result {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	results := make([]result, len(drafts))
	good := make([]message.Message, 0, len(drafts))
	places := make([]int, 0, len(drafts)) // of the good ones in drafts
	firsts := map[[2]string]int{}         // of each idempotency key in drafts
	repeats := map[int]repeat{}
	var late lateDrafts
	for i, d := range drafts {
		m, err := a.read(d, i)
		if err != nil {
			results[i].err = err
			late.add(a, d, i, err)
			continue
		}
		if m.IdempotencyKey != "" {
			key := [2]string{m.Scope, m.IdempotencyKey}
			if first, known := firsts[key]; known {
				repeats[i] = repeat{of: first, wanted: m}
				continue
			}
			firsts[key] = i
		}
		good, places = append(good, m), append(places, i)
	}
	for n, o := range a.commit.Store(ctx, good) {
		results[places[n]] = judge(good[n], o)
	}
	for i, r := range repeats {
		results[i] = r.judge(results[r.of])
	}
	late.judge(ctx, a.store, results)
	failpoint.At(failpoint.IngestUnanswered)
	return results
}

// repeat is a draft under the same key as an earlier one of its batch. It is
// judged by what became of that one: in the store either might come first.
type repeat struct {
	of     int
	wanted message.Message
}

func (r repeat) judge(first result) result {
	if first.err != nil && !errors.Is(first.err, errKeyReused) {
		return first
	}
	return judge(r.wanted, outcome{stored: db.InsertResult{Message: first.message}})
}

// idStep is the resolution of an id's time: messages of one batch are that
// far apart, so that their ids are in the batch's order.
const idStep = 250 * time.Nanosecond

// read makes a message of a draft, the index-th of its batch.
func (a *acceptor) read(d draft, index int) (message.Message, error) {
	if d.at.IsZero() {
		d.at = time.Now()
	}
	outside, mistakes := d.outside()
	request, err := a.rules.ParseWith(d.body, d.at, outside)
	var invalid *message.ValidationError
	switch {
	case errors.As(err, &invalid):
		mistakes = append(mistakes, invalid.Errors...)
	case err != nil:
		return message.Message{}, err
	}
	if len(mistakes) > 0 {
		return message.Message{}, &message.ValidationError{Errors: mistakes}
	}
	if d.id == (message.ID{}) {
		d.id = message.NewID(d.at.Add(time.Duration(index) * idStep))
	}
	m := request.Message(d.id, d.scope)
	m.Trace = d.trace
	return m, nil
}

// outside returns what came beside the body, and what is wrong with it.
func (d draft) outside() (message.RequestMeta, []message.FieldError) {
	outside := message.RequestMeta{Destination: d.destination, KeyHeader: d.key.header}
	switch {
	case len(d.key.values) > 1:
		return outside, []message.FieldError{{Field: d.key.header, Code: message.CodeDuplicateField, Message: "must not be given more than once"}}
	case len(d.key.values) == 1 && d.key.values[0] == "":
		return outside, []message.FieldError{{Field: d.key.header, Code: message.CodeBlank, Message: "must not be empty"}}
	case len(d.key.values) == 1:
		outside.IdempotencyKey = d.key.values[0]
	}
	return outside, nil
}

// judge tells a repeat from another request under the same key.
func judge(wanted message.Message, o outcome) result {
	first := o.stored.Message
	switch {
	case o.err != nil:
		return result{err: o.err}
	case o.stored.Created:
		return result{accepted: accepted{message: first}}
	case !bytes.Equal(first.BodyHash, wanted.BodyHash):
		return result{accepted: accepted{message: first}, err: errKeyReused}
	}
	return result{accepted: accepted{message: first, repeated: true}}
}

// natsScope is whose idempotency keys come in over NATS: one namespace, so
// that a key means the same on the stream and in a request.
func natsScope(topology events.Topology) string { return "nats:" + topology.Prefix() }
