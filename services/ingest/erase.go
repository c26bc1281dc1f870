package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/crash"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// eraseBatch is how many messages are erased in one transaction, and
	// eraseBudget for how long a request erases.
	eraseBatch  = 500
	eraseBudget = 20 * time.Second
	// eraseAgain is the wait for messages that are just being moved.
	eraseAgain = 50 * time.Millisecond
	// mostUnpacked bounds what a compressed rejection may grow to.
	mostUnpacked = 16 << 20
)

// eraser removes what is known of a recipient from everywhere but EVENTS,
// whose entries leave by their age.
type eraser struct {
	*useCases
	js       jetstream.JetStream
	topology events.Topology
	cache    *cache.Cache // nil when there is no Redis
}

// erasure is a request to erase a recipient.
type erasure struct {
	to     string // as it is stored
	dryRun bool
}

// erasureAnswer is what became of it.
type erasureAnswer struct {
	DryRun      bool       `json:"dryRun"`
	Erased      int64      `json:"erased"`      // messages
	Cancelled   int64      `json:"cancelled"`   // of them, not yet final
	Attempts    int64      `json:"attempts"`    // of them
	Cached      int64      `json:"cached"`      // states in Redis
	Unpublished int64      `json:"unpublished"` // events that waited for NATS
	Intake      int64      `json:"intake"`      // entries of the intake stream
	Rejected    int64      `json:"rejected"`    // entries of the stream of rejections
	EventsUntil *time.Time `json:"eventsUntil"` // when the last event that names the recipient is gone
	More        bool       `json:"more,omitempty"`
}

func (a *api) eraseMessages(c *fiber.Ctx) error {
	q := query{}
	c.Context().QueryArgs().VisitAll(func(name, value []byte) {
		q[string(name)] = append(q[string(name)], string(value))
	})
	request, err := a.eraser.read(q)
	if err != nil {
		return err
	}
	body, err := a.readBody(c)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		return &message.Malformed{Detail: "this request takes no body"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), eraseBudget)
	defer cancel()
	done, err := a.eraser.Erase(ctx, request)
	if err != nil {
		return err
	}
	return answer(c, done)
}

// read makes an erasure of the parameters; its error names every mistake.
func (e *eraser) read(q query) (erasure, error) {
	r := filterReader{recipient: e.recipient}
	var request erasure
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case name != "to" && name != "dryRun":
			r.bad(name, codeUnknownParameter, "is not a parameter of this request")
		case len(q[name]) > 1:
			r.bad(name, message.CodeDuplicateField, "must be given once")
		case name == "to":
			request.to = r.readText(name, q[name][0])
		default:
			var err error
			if request.dryRun, err = strconv.ParseBool(q[name][0]); err != nil {
				r.bad(name, codeInvalidValue, "must be true or false")
			}
		}
	}
	switch {
	case len(q["to"]) == 0:
		r.bad("to", message.CodeRequired, "must be given: whose messages to erase")
	case len(r.errs) == 0 && e.wantsPhone():
		if number, err := message.NormalizePhone(request.to); err != nil || number != request.to {
			r.bad("to", message.CodeInvalidPhoneNumber, message.ErrPhoneNumber.Error())
		}
	}
	if len(r.errs) > 0 {
		return erasure{}, badParameters(r.errs)
	}
	return request, nil
}

func (e *eraser) wantsPhone() bool {
	return e.rules.Destinations[message.DefaultDestination] == message.RecipientPhone
}

// Erase erases until all is done or ctx ends, and then says that there is
// more: asking again goes on. It begins with what could still become a
// message, and touches nothing while something that it must reach is away.
func (e *eraser) Erase(ctx context.Context, r erasure) (erasureAnswer, error) {
	if err := e.reachable(ctx); err != nil {
		return erasureAnswer{}, err
	}
	until := time.Now().Add(events.EventsMaxAge).UTC().Truncate(time.Second)
	done := erasureAnswer{DryRun: r.dryRun, EventsUntil: &until}
	for _, step := range []func(context.Context, erasure, *erasureAnswer) error{
		e.eraseIntake, e.eraseMessages, e.eraseOutbox, e.eraseRejected,
	} {
		err := step(ctx, r, &done)
		if ctx.Err() != nil {
			done.More = true
			return done, nil //nolint:nilerr // the time was up, and the answer says so
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (e *eraser) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	away := ""
	if !e.js.Conn().IsConnected() {
		away = "NATS"
	} else if e.cache != nil && e.cache.Ping(ctx) != nil {
		away = "Redis"
	}
	if away != "" {
		return later(http.StatusServiceUnavailable, codeUnavailable, away+" is away, and holds what is to be erased; nothing was erased", retryLater)
	}
	return nil
}

func (e *eraser) eraseIntake(ctx context.Context, r erasure, done *erasureAnswer) (err error) {
	done.Intake, err = e.eraseFrom(ctx, e.topology.IntakeStream(), r)
	crash.At(crash.EraseIntake)
	return err
}

func (e *eraser) eraseRejected(ctx context.Context, r erasure, done *erasureAnswer) (err error) {
	done.Rejected, err = e.eraseFrom(ctx, e.topology.RejectedStream(), r)
	return err
}

func (e *eraser) eraseFrom(ctx context.Context, stream string, r erasure) (int64, error) {
	search := events.Remove
	if r.dryRun {
		search = events.Count
	}
	n, err := search(ctx, e.js, stream, func(held events.Held) bool { return e.isTo(held, r.to) })
	if err != nil {
		err = errors.Join(err, later(http.StatusServiceUnavailable, codeUnavailable, "NATS went away; what is left is erased by the same request again", retryLater))
	}
	return int64(n), err
}

// isTo reports whether a message as somebody published it is to a recipient.
// Of what is no JSON, containing it is enough.
func (e *eraser) isTo(held events.Held, recipient string) bool {
	data := held.Data
	if held.Headers.Get("Content-Encoding") == "gzip" {
		if reader, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, _ = io.ReadAll(io.LimitReader(reader, mostUnpacked)) // as far as it can be read
		}
	}
	var body struct {
		To    any `json:"to"`
		Phone any `json:"phoneNumber"`
	}
	if json.Unmarshal(data, &body) != nil {
		return bytes.Contains(data, []byte(recipient))
	}
	for _, named := range []any{body.To, body.Phone} {
		if text, ok := named.(string); ok && (text == recipient || e.recipient(text) == recipient) {
			return true
		}
	}
	return false
}

// eraseMessages erases rows. Those that are not final end by that: what a
// sender has not taken by now is not sent.
func (e *eraser) eraseMessages(ctx context.Context, r erasure, done *erasureAnswer) error {
	if r.dryRun {
		there, err := e.store.CountRecipient(ctx, r.to)
		done.Erased, done.Cancelled, done.Attempts = there.Messages, there.Open, there.Attempts
		return err
	}
	for {
		n, err := e.eraseSome(ctx, r.to, done)
		if err != nil {
			return err
		}
		if n == eraseBatch {
			continue
		}
		has, err := e.store.HasRecipient(ctx, r.to)
		if err != nil || !has {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(eraseAgain):
		}
	}
}

func (e *eraser) eraseSome(ctx context.Context, to string, done *erasureAnswer) (int, error) {
	began := time.Now()
	var entries []events.Entry
	cancelled := 0
	box := func(open []message.Message) []byte {
		cancelled = len(open)
		for i := range open {
			open[i] = forgotten(open[i], began)
		}
		entries = e.composer.Moved(message.EventCancelled, open)
		return events.Encode(entries)
	}
	var ids []message.ID
	erased, err := e.store.Erase(ctx, to, eraseBatch, box, func(ctx context.Context, all []message.ID) error {
		ids = all
		err := e.forget(ctx, ids, done)
		crash.At(crash.EraseForgotten)
		return err
	})
	if err != nil {
		return 0, err
	}
	crash.At(crash.EraseStored)
	e.announce(committed{outboxID: erased.OutboxID, entries: entries, began: began})
	done.Erased += int64(len(ids))
	done.Cancelled += int64(cancelled)
	done.Attempts += erased.Attempts
	for _, m := range erased.Messages {
		if m.Status == message.Retrying {
			e.unpark(m)
		}
	}
	// Once more: until the commit the copier may have found them.
	return len(ids), e.forget(ctx, ids, done)
}

// forget removes states from Redis.
func (e *eraser) forget(ctx context.Context, ids []message.ID, done *erasureAnswer) error {
	if e.cache == nil {
		return nil
	}
	n, err := e.cache.Forget(ctx, ids)
	done.Cached += n
	if err != nil {
		err = errors.Join(err, later(http.StatusServiceUnavailable, codeUnavailable, "Redis went away; what is left is erased by the same request again", retryLater))
	}
	return err
}

// forgotten is the end of a message that is erased, as others are told of it.
func forgotten(m message.Message, at time.Time) message.Message {
	m = m.WithoutContent()
	m.To, m.ExternalID, m.LastError, m.NextAttemptAt = "", "", "", nil
	m.Status, m.Version, m.UpdatedAt = message.Cancelled, m.Version+1, at
	return m
}

func (e *eraser) eraseOutbox(ctx context.Context, r erasure, done *erasureAnswer) error {
	err := e.store.RewriteOutbox(ctx, func(batch []byte) ([]byte, bool) {
		rest, left := events.WithoutRecipient(batch, r.to)
		done.Unpublished += int64(left)
		return rest, left > 0 && !r.dryRun
	})
	crash.At(crash.EraseRewritten)
	return err
}
