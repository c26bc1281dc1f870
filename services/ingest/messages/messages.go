package messages

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

// queryWait bounds a question to the store.
const queryWait = 10 * time.Second

// Config are what messages work with.
type Config struct {
	Store     *db.Store
	Composer  events.Composer
	Announcer *outbox.Publisher
	JS        *jetstream.Client
	Cache     *cache.Cache // nil when there is no Redis
	Log       *zap.Logger
}

// Service answers questions about Service that are stored, and moves them, for
// HTTP and the micro service alike. Its methods are safe for concurrent use.
// They return the errors that db.ProblemOf knows.
type Service struct {
	store     *db.Store
	composer  events.Composer
	announcer *outbox.Publisher
	js        *jetstream.Client
	cache     *cache.Cache // nil when there is no Redis
	log       *zap.Logger
}

// New returns what answers questions about messages.
func New(p Config) *Service {
	return &Service{store: p.Store, composer: p.Composer, announcer: p.Announcer, js: p.JS, cache: p.Cache, log: p.Log}
}

// Get returns a message.
func (u *Service) Get(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.Get(ctx, id)
}

// Attempts returns what was tried to deliver a message.
func (u *Service) Attempts(ctx context.Context, id message.ID) ([]message.Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.Attempts(ctx, id)
}
