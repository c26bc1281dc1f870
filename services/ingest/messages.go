package ingest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// queryWait bounds a question to the store, and the waiting of a request for
// its transaction.
const queryWait = 10 * time.Second

// useCases is everything that can be done with messages, for HTTP, the micro
// service and the NATS intake alike. Its methods return the errors that
// problemOf knows. They are safe for concurrent use.
type useCases struct {
	rules    message.Rules
	store    *db.Store
	commit   *committer
	composer events.Composer
	announce func(committed)
	wake     func()                // tells the dispatchers that something may be due
	unpark   func(message.Message) // takes the schedule of a cancelled message off its stream
	recache  func([]message.ID)    // has Redis show a move that has no event
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
func (u *useCases) Create(ctx context.Context, d draft) (accepted, error) {
	r := u.CreateMany(ctx, []draft{d})[0]
	if r.err == nil && r.repeated {
		// Among the first ones of a group are none of their payloads.
		first, err := u.Get(ctx, r.message.ID)
		return accepted{message: first, repeated: true}, err
	}
	return r.accepted, r.err
}

// CreateMany stores the drafts that are good, whatever the others are, and
// returns what became of each, in their order.
func (u *useCases) CreateMany(ctx context.Context, drafts []draft) []result {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	results := make([]result, len(drafts))
	good := make([]message.Message, 0, len(drafts))
	places := make([]int, 0, len(drafts)) // of the good ones in drafts
	firsts := map[[2]string]int{}         // of each idempotency key in drafts
	repeats := map[int]repeat{}
	var late lateDrafts
	for i, d := range drafts {
		m, err := u.read(d, i)
		if err != nil {
			results[i].err = err
			late.add(u, d, i, err)
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
	for n, o := range u.commit.Store(ctx, good) {
		results[places[n]] = judge(good[n], o)
	}
	for i, r := range repeats {
		results[i] = r.judge(results[r.of])
	}
	late.judge(ctx, u.store, results)
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
func (u *useCases) read(d draft, index int) (message.Message, error) {
	if d.at.IsZero() {
		d.at = time.Now()
	}
	outside, mistakes := d.outside()
	request, err := u.rules.ParseWith(d.body, d.at, outside)
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

// Get returns a message.
func (u *useCases) Get(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.Get(ctx, id)
}

// Attempts returns what was tried to deliver a message.
func (u *useCases) Attempts(ctx context.Context, id message.ID) ([]message.Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.Attempts(ctx, id)
}

// page is a part of a list.
type page struct {
	Data       []message.Message `json:"data"`
	NextCursor *string           `json:"nextCursor"`
}

// size is how long its JSON is, but for escapes and what is always short.
func (p page) size() int {
	size := 0
	for i := range p.Data {
		size += usualAnswer + len(p.Data[i].Content) + len(p.Data[i].Payload)
	}
	return size
}

// AppendJSON appends the JSON object to b and returns the extended slice.
func (p page) AppendJSON(b []byte) []byte {
	b = append(b, `{"data":[`...)
	for i := range p.Data {
		if i > 0 {
			b = append(b, ',')
		}
		b = p.Data[i].AppendJSON(b)
	}
	b = append(b, `],"nextCursor":`...)
	return append(append(b, message.EncodeJSON(p.NextCursor)...), '}')
}

// List returns the messages that a query asks for, newest first: fewer than its
// limit where those have more than maxBytes of JSON, but one always.
func (u *useCases) List(ctx context.Context, q query, maxBytes int) (page, error) {
	filter, err := readFilter(q, u.recipient)
	if err != nil {
		return page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	filter.MaxBytes = maxBytes
	found, err := u.store.ListPage(ctx, filter)
	if err != nil {
		return page{}, err
	}
	if !found.More {
		return page{Data: found.Messages}, nil
	}
	cursor := newCursor(found.Messages[len(found.Messages)-1].ID)
	return page{Data: found.Messages, NextCursor: &cursor}, nil
}

// recipient brings a recipient that is looked for into the form in which it
// is stored: E.164, where recipients are phone numbers. A '+' that was not
// escaped arrives as a space.
func (u *useCases) recipient(text string) string {
	if u.rules.Destinations[message.DefaultDestination] != message.RecipientPhone {
		return text
	}
	number, err := message.NormalizePhone(text)
	if before, after, spaced := strings.Cut(text, " "); err != nil && spaced {
		number, err = message.NormalizePhone(before + "+" + after)
	}
	if err != nil {
		return text
	}
	return number
}

// readID reads the id of a message as it stands in a path or a body.
func readID(text string) (message.ID, error) {
	id, err := message.ParseID(text)
	if err != nil {
		p := message.NewProblem(http.StatusBadRequest, message.ProblemInvalidParameters, "id must be a UUID")
		p.Errors = []message.FieldError{{Field: "id", Code: message.CodeInvalidFormat, Message: "must be a UUID"}}
		return id, p
	}
	return id, nil
}
