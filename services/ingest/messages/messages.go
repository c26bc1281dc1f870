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

// queryTimeout bounds each call of the store.
const queryTimeout = 10 * time.Second

// Config is what a Service works with.
type Config struct {
	Store   *db.Store
	Builder events.EventBuilder
	Outbox  *outbox.Publisher
	JS      *jetstream.Client
	Cache   *cache.Cache // nil: there is no Redis
	Log     *zap.Logger
}

// Service reads and changes stored messages. Its methods are safe for concurrent
// use. db.ProblemOf describes the errors that they return.
type Service struct {
	store   *db.Store
	builder events.EventBuilder
	outbox  *outbox.Publisher
	js      *jetstream.Client
	cache   *cache.Cache
	log     *zap.Logger
}

// New returns a Service.
func New(cfg Config) *Service {
	return &Service{
		store: cfg.Store, builder: cfg.Builder, outbox: cfg.Outbox,
		js: cfg.JS, cache: cfg.Cache, log: cfg.Log,
	}
}

// Get returns a message, or db.ErrNotFound.
func (s *Service) Get(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.store.Get(ctx, id)
}

// Attempts returns the delivery attempts of a message, or db.ErrNotFound.
func (s *Service) Attempts(ctx context.Context, id message.ID) ([]message.Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.store.Attempts(ctx, id)
}
