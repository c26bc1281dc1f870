package accept

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

// Acceptor checks and stores messages, for HTTP, the micro service and the NATS
// intake alike. Its methods are safe for concurrent use. They return the errors
// that db.ProblemOf knows.
type Acceptor struct {
	rules  message.Rules
	store  *db.Store
	commit *committer
}

// New returns an acceptor that has a committer store.
func New(rules message.Rules, store *db.Store, commit *committer) *Acceptor {
	return &Acceptor{rules: rules, store: store, commit: commit}
}

// Draft is a request to store a message.
type Draft struct {
	Body        []byte
	Scope       string     // whose idempotency keys it is about
	Key         KeyHeader  // what came beside the body
	Destination string     // the one it was sent to; empty for the body's
	Id          message.ID // zero: a fresh one
	At          time.Time  // what counts as now for its deadlines
	Trace       message.Trace
}

// KeyHeader is an idempotency key that came in a header.
type KeyHeader struct {
	Header string   // its name, for the mistakes
	Values []string // as often as it was given
}

// Accepted is a stored message.
type accepted struct {
	Message  message.Message
	Repeated bool // it was stored before, under the same key
}

// Result is what became of a draft.
type Result struct {
	accepted
	Err error
}

// Create stores one message.
func (a *Acceptor) Create(ctx context.Context, d Draft) (accepted, error) {
	r := a.CreateMany(ctx, []Draft{d})[0]
	if r.Err == nil && r.Repeated {
		// Among the first ones of a group are none of their payloads.
		first, err := a.get(ctx, r.Message.ID)
		return accepted{Message: first, Repeated: true}, err
	}
	return r.accepted, r.Err
}

func (a *Acceptor) get(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return a.store.Get(ctx, id)
}

// CreateMany stores the drafts that are good, whatever the others are, and
// returns what became of each, in their order.
func (a *Acceptor) CreateMany(ctx context.Context, drafts []Draft) []Result {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	results := make([]Result, len(drafts))
	good := make([]message.Message, 0, len(drafts))
	places := make([]int, 0, len(drafts)) // of the good ones in drafts
	firsts := map[[2]string]int{}         // of each idempotency key in drafts
	repeats := map[int]repeat{}
	var late lateDrafts
	for i, d := range drafts {
		m, err := a.read(d, i)
		if err != nil {
			results[i].Err = err
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

func (r repeat) judge(first Result) Result {
	if first.Err != nil && !errors.Is(first.Err, errKeyReused) {
		return first
	}
	return judge(r.wanted, outcome{stored: db.InsertResult{Message: first.Message}})
}

// idStep is the resolution of an id's time: messages of one batch are that
// far apart, so that their ids are in the batch's order.
const idStep = 250 * time.Nanosecond

// read makes a message of a draft, the index-th of its batch.
func (a *Acceptor) read(d Draft, index int) (message.Message, error) {
	if d.At.IsZero() {
		d.At = time.Now()
	}
	outside, mistakes := d.outside()
	request, err := a.rules.ParseWith(d.Body, d.At, outside)
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
	if d.Id == (message.ID{}) {
		d.Id = message.NewID(d.At.Add(time.Duration(index) * idStep))
	}
	m := request.Message(d.Id, d.Scope)
	m.Trace = d.Trace
	return m, nil
}

// outside returns what came beside the body, and what is wrong with it.
func (d Draft) outside() (message.RequestMeta, []message.FieldError) {
	outside := message.RequestMeta{Destination: d.Destination, KeyHeader: d.Key.Header}
	switch {
	case len(d.Key.Values) > 1:
		return outside, []message.FieldError{{Field: d.Key.Header, Code: message.CodeDuplicateField, Message: "must not be given more than once"}}
	case len(d.Key.Values) == 1 && d.Key.Values[0] == "":
		return outside, []message.FieldError{{Field: d.Key.Header, Code: message.CodeBlank, Message: "must not be empty"}}
	case len(d.Key.Values) == 1:
		outside.IdempotencyKey = d.Key.Values[0]
	}
	return outside, nil
}

// judge tells a repeat from another request under the same key.
func judge(wanted message.Message, o outcome) Result {
	first := o.stored.Message
	switch {
	case o.err != nil:
		return Result{Err: o.err}
	case o.stored.Created:
		return Result{accepted: accepted{Message: first}}
	case !bytes.Equal(first.BodyHash, wanted.BodyHash):
		return Result{accepted: accepted{Message: first}, Err: errKeyReused}
	}
	return Result{accepted: accepted{Message: first, Repeated: true}}
}

// NATSScope is whose idempotency keys come in over NATS: one namespace, so
// that a key means the same on the stream and in a request.
func NATSScope(topology events.Topology) string { return "nats:" + topology.Prefix() }
