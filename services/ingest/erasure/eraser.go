package erasure

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

const (
	// eraseBatch is how many messages are erased in one transaction.
	eraseBatch = 500
	// eraseAgain is the wait for messages that are just being moved.
	eraseAgain = 50 * time.Millisecond
	// intakeWait is how long an erasure waits for intake that an ingest has in
	// hand: it may become a message, or a rejection, after it was looked for.
	intakeWait = 5 * time.Second
	// lateEvents is how long after the answer an event may still be published
	// that names the recipient: by a sender whose request is in flight, or by
	// the owner of an outbox row.
	lateEvents = settings.MaxWebhookTimeout + time.Minute
	// reachWait bounds the question whether NATS and Redis are there.
	reachWait = 10 * time.Second
	// mostUnpacked bounds what a compressed rejection may grow to.
	mostUnpacked = 16 << 20
)

// Eraser removes what is known of a recipient from everywhere but EVENTS,
// whose entries leave by their age.
type Eraser struct {
	store      *db.Store
	composer   events.Composer
	announcer  *outbox.Publisher
	messages   *messages.Service // takes off schedules
	recipients request.Recipients
	js         *jetstream.Client
	cache      *cache.Cache // nil when there is no Redis
	walks      walks
}

// Config are what an eraser works with.
type Config struct {
	Store     *db.Store
	Composer  events.Composer
	Announcer *outbox.Publisher
	Messages  *messages.Service // takes off schedules
	Rules     message.Rules
	JS        *jetstream.Client
	Cache     *cache.Cache // nil when there is no Redis
}

// New returns an eraser.
func New(p Config) *Eraser {
	return &Eraser{
		store: p.Store, composer: p.Composer, announcer: p.Announcer, messages: p.Messages, recipients: request.NewRecipients(p.Rules),
		js: p.JS, cache: p.Cache,
	}
}

// erasing is an erasure that is being worked on.
type erasing struct {
	request.Erasure
	walk walk
	done erasureAnswer
}

// Erase erases until all is done or ctx ends, and then says that there is
// more: asking again goes on. It begins with what could still become a
// message, and touches nothing while something that it must reach is away.
func (e *Eraser) Erase(ctx context.Context, r request.Erasure) (erasureAnswer, error) {
	if err := e.reachable(ctx); err != nil {
		return erasureAnswer{}, err
	}
	work := &erasing{Erasure: r, done: erasureAnswer{DryRun: r.DryRun}}
	if !r.DryRun { // a dry run counts from the beginning
		work.walk = e.walks.take(r.To, time.Now())
	}
	err := e.run(ctx, work)
	if !r.DryRun && (err != nil || work.done.More) {
		e.walks.keep(r.To, work.walk, time.Now())
	}
	// As late as can be: what is published until now, or just being so, stays
	// from then on for as long as EVENTS keeps anything.
	until := time.Now().Add(lateEvents + events.EventsMaxAge).UTC().Truncate(time.Second)
	work.done.EventsUntil = &until
	return work.done, err
}

func (e *Eraser) run(ctx context.Context, work *erasing) error {
	for _, step := range []func(context.Context, *erasing) error{
		e.eraseIntake, e.eraseMessages, e.eraseOutbox, e.eraseRejected,
	} {
		err := step(ctx, work)
		if ctx.Err() != nil {
			work.done.More = true
			return nil //nolint:nilerr // the time was up, and the answer says so
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Eraser) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	away := ""
	if !e.js.Conn().IsConnected() {
		away = "NATS"
	} else if e.cache != nil && e.cache.Ping(ctx) != nil {
		away = "Redis"
	}
	if away != "" {
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, away+" is away, and holds what is to be erased; nothing was erased", message.RetryLater)
	}
	return nil
}

// eraseIntake takes out what no ingest has been given, and waits until what
// they have in hand is stored, or rejected: both are looked for after that.
// What it can't wait for is left to the next call.
func (e *Eraser) eraseIntake(ctx context.Context, work *erasing) error {
	search := streams.Walk{
		Stream: e.js.IntakeStream(), Consumer: events.IntakeConsumer, From: work.walk.intake,
		Matches: func(held streams.Held) bool { return e.isTo(held, work.To) },
	}
	if work.DryRun {
		walked, err := streams.Count(ctx, e.js, search)
		work.done.Intake = int64(walked.Matched)
		return awayIf(err)
	}
	walked, unsure, err := streams.RemoveWaiting(ctx, e.js, search)
	work.done.Intake, work.walk.intake = int64(walked.Matched), walked.Next
	work.done.More = unsure
	failpoint.At(failpoint.EraseIntake)
	if err != nil {
		return awayIf(err)
	}
	bounded, cancel := context.WithTimeout(ctx, intakeWait)
	defer cancel()
	if err := streams.AwaitSettled(bounded, e.js, search.Stream, search.Consumer); err != nil && bounded.Err() == nil {
		return awayIf(err)
	}
	work.done.More = work.done.More || bounded.Err() != nil
	return nil
}

func (e *Eraser) eraseRejected(ctx context.Context, work *erasing) error {
	search := streams.Remove
	if work.DryRun {
		search = streams.Count
	}
	walked, err := search(ctx, e.js, streams.Walk{
		Stream: e.js.RejectedStream(), From: work.walk.rejected,
		Matches: func(held streams.Held) bool { return e.isTo(held, work.To) },
	})
	work.done.Rejected, work.walk.rejected = int64(walked.Matched), walked.Next
	return awayIf(err)
}

// awayIf makes of an error of NATS what the caller is told.
func awayIf(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "NATS went away; what is left is erased by the same request again", message.RetryLater))
}

// isTo reports whether a message as somebody published it is to a recipient.
// Of what is no JSON, containing it is enough.
func (e *Eraser) isTo(held streams.Held, recipient string) bool {
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
		if text, ok := named.(string); ok && (text == recipient || e.recipients.Normalize(text) == recipient) {
			return true
		}
	}
	return false
}

// eraseMessages erases rows. Those that are not final end by that: what a
// sender has not taken by now is not sent.
func (e *Eraser) eraseMessages(ctx context.Context, work *erasing) error {
	if work.DryRun {
		there, err := e.store.CountRecipient(ctx, work.To)
		work.done.Erased, work.done.Cancelled, work.done.Attempts = there.Messages, there.Open, there.Attempts
		return err
	}
	for {
		n, err := e.eraseSome(ctx, work)
		if err != nil {
			return err
		}
		if n == eraseBatch {
			continue
		}
		has, err := e.store.HasRecipient(ctx, work.To)
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

func (e *Eraser) eraseSome(ctx context.Context, work *erasing) (int, error) {
	began := time.Now()
	var entries []events.Entry
	cancelled := 0
	box := func(all []message.Message) []byte {
		entries, cancelled = e.erased(all, began)
		return events.Encode(entries)
	}
	var ids []message.ID
	erased, err := e.store.EraseBatch(ctx, work.To, eraseBatch, box, func(ctx context.Context, all []message.ID) error {
		ids = all
		err := e.forget(ctx, ids, &work.done)
		failpoint.At(failpoint.EraseForgotten)
		return err
	})
	if err != nil {
		return 0, err
	}
	failpoint.At(failpoint.EraseStored)
	e.announcer.Announce(outbox.Row{OutboxID: erased.OutboxID, Entries: entries, Began: began})
	work.done.Erased += int64(len(ids))
	work.done.Cancelled += int64(cancelled)
	work.done.Attempts += erased.Attempts
	for _, m := range erased.Messages {
		if m.Status == message.Retrying {
			e.messages.Unpark(m)
		}
	}
	// Once more: until the commit the copier may have found them.
	return len(ids), e.forget(ctx, ids, &work.done)
}

// erased is what an erasure publishes: that what was open has ended, and a
// note that all of them have changed. The copier may have read a row before it
// was deleted, and copy it to Redis after that; the note has it look again,
// and forget the message.
func (e *Eraser) erased(all []message.Message, at time.Time) (entries []events.Entry, cancelled int) {
	var open []message.Message
	var final []message.ID
	for _, m := range all {
		if m.Status.Final() {
			final = append(final, m.ID)
		} else {
			open = append(open, forgotten(m, at))
		}
	}
	return append(e.composer.Moved(message.EventCancelled, open), e.composer.Noted(final)...), len(open)
}

// Forget removes states from Redis.
func (e *Eraser) forget(ctx context.Context, ids []message.ID, done *erasureAnswer) error {
	if e.cache == nil {
		return nil
	}
	n, err := e.cache.Forget(ctx, ids)
	done.Cached += n
	if err != nil {
		err = errors.Join(err, message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "Redis went away; what is left is erased by the same request again", message.RetryLater))
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

func (e *Eraser) eraseOutbox(ctx context.Context, work *erasing) (err error) {
	work.walk.outbox, err = e.store.RewriteOutbox(ctx, work.walk.outbox, func(batch []byte) ([]byte, bool) {
		rest, left := events.WithoutRecipient(batch, work.To)
		work.done.Unpublished += int64(left)
		return rest, left > 0 && !work.DryRun
	})
	failpoint.At(failpoint.EraseRewritten)
	return err
}
