package erasure

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

const (
	reachTimeout = 10 * time.Second // of the check whether NATS and Redis can be reached
	// settleTimeout is how long an erasure waits for intake messages that an
	// ingest has received. They may become messages or rejections after the
	// erasure has searched for those.
	settleTimeout = 5 * time.Second
	// eventDelay is how long after the response an event may still be published
	// that names the recipient: by a sender with a request in flight, or by the
	// owner of an outbox row.
	eventDelay = settings.MaxWebhookTimeout + time.Minute
)

// Config is what an Eraser works with.
type Config struct {
	Store    *db.Store
	Builder  events.EventBuilder
	Outbox   *outbox.Publisher
	Messages *messages.Service
	Rules    message.Rules
	JS       *jetstream.Client
	Cache    *cache.Cache // nil: there is no Redis
}

// Eraser removes all data about a recipient, except from EVENTS, which keeps its
// messages until they are too old. It is safe for concurrent use. db.ProblemOf
// describes the errors that its methods return.
type Eraser struct {
	store      *db.Store
	builder    events.EventBuilder
	outbox     *outbox.Publisher
	messages   *messages.Service
	recipients request.Recipients
	js         *jetstream.Client
	cache      *cache.Cache
	progress   progressStore
	now        func() time.Time
}

// New returns an Eraser.
func New(cfg Config) *Eraser {
	return &Eraser{
		store: cfg.Store, builder: cfg.Builder, outbox: cfg.Outbox, messages: cfg.Messages,
		recipients: request.NewRecipients(cfg.Rules), js: cfg.JS, cache: cfg.Cache, now: time.Now,
	}
}

// run is one call of Erase.
type run struct {
	request.Erasure
	progress progress
	result   Result
}

// Erase erases until everything is done or ctx ends. If ctx ends first, the
// result says that there is more, and the same request continues. It starts with
// what could still become a message. It erases nothing if NATS or Redis can't be
// reached.
func (e *Eraser) Erase(ctx context.Context, erasure request.Erasure) (Result, error) {
	if err := e.checkReachable(ctx); err != nil {
		return Result{}, err
	}
	r := &run{Erasure: erasure, result: Result{DryRun: erasure.DryRun}}
	if !erasure.DryRun { // a dry run counts from the beginning
		r.progress = e.progress.take(erasure.To, e.now())
	}
	err := e.runSteps(ctx, r)
	if !erasure.DryRun && (err != nil || r.result.More) {
		e.progress.put(erasure.To, r.progress, e.now())
	}
	// As late as possible: EVENTS keeps what is published until now, or is just
	// being published, for EventsMaxAge.
	until := e.now().Add(eventDelay + events.EventsMaxAge).UTC().Truncate(time.Second)
	r.result.EventsUntil = &until
	return r.result, err
}

func (e *Eraser) runSteps(ctx context.Context, r *run) error {
	for _, step := range []func(context.Context, *run) error{
		e.eraseIntake, e.eraseMessages, e.eraseOutbox, e.eraseRejected,
	} {
		err := step(ctx, r)
		if ctx.Err() != nil {
			r.result.More = true
			return nil //nolint:nilerr // the time is up; the result says so
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Eraser) checkReachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	switch {
	case !e.js.Conn().IsConnected():
		return unavailable("NATS is away, and holds what is to be erased; nothing was erased")
	case e.cache != nil && e.cache.Ping(ctx) != nil:
		return unavailable("Redis is away, and holds what is to be erased; nothing was erased")
	}
	return nil
}

func unavailable(detail string) *message.Problem {
	return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, detail, message.RetryLater)
}

// withNATSProblem adds to an error of NATS the problem for the client.
func withNATSProblem(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, unavailable("NATS went away; what is left is erased by the same request again"))
}

func (e *Eraser) eraseOutbox(ctx context.Context, r *run) (err error) {
	r.progress.outbox, err = e.store.RewriteOutbox(ctx, r.progress.outbox, func(batch []byte) ([]byte, bool) {
		rest, removed := events.WithoutRecipient(batch, r.To)
		r.result.Unpublished += int64(removed)
		return rest, removed > 0 && !r.DryRun
	})
	failpoint.At(failpoint.EraseRewritten)
	return err
}
