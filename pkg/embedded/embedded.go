// Package embedded is the embedded default: everything that the dispatcher needs, started by itself. A
// NATS server runs inside this process, a private PostgreSQL and a private Redis are its children,
// and whatever is given by an address is used instead.
//
//	Config.Dir/
//	├── lock       held while a process of ours works here
//	├── postgres/  see package postgres
//	├── redis/     see package redis
//	└── nats/      JetStream's files
//
// All of it outlives the process; none of the servers does, not even a kill -9 (see package process).
package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/lock"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
)

// Database is the name of the database in the private PostgreSQL.
const Database = "dispatch"

// undoWait bounds how long a start that failed waits for the servers that it
// started to end.
const undoWait = 30 * time.Second

// ErrInUse tells that another process of ours works in the directory.
var ErrInUse = lock.ErrInUse

// Config says what to start. A server whose address is given is not started.
type Config struct {
	// Dir holds the data of everything that is started; it is made when missing.
	Dir string
	// DatabaseURL, NATSURL and RedisURL are used as they are when they are given.
	DatabaseURL, NATSURL, RedisURL string
	// NATSListen is where the NATS server listens; empty means natsd.DefaultListen.
	NATSListen string
	// NATSSyncAlways has JetStream sync every write, see natsd.Config.
	NATSSyncAlways bool
	// Logger is told what is started, and what ends by itself. Nil discards that.
	Logger *zap.Logger
}

// Stack is what runs. Its methods may be called concurrently.
type Stack struct {
	// DatabaseURL, NATSURL and RedisURL are where the servers are, given or started. They stay the
	// same until Stop. RedisURL is empty when there is no Redis.
	DatabaseURL, NATSURL, RedisURL string

	logger   *zap.Logger
	lock     *lock.Lock
	nats     *supervisor
	server   atomic.Pointer[natsd.Server] // of nats
	postgres *supervisor
	redis    *supervisor
	done     chan error
	stop     sync.Once
	stopErr  error
}

// Start starts what no address was given for, all at the same time, and returns when all of it
// answers: within a second, or about two for the first time in a directory. The database is made
// when missing. A Redis that can't be had is logged and done without; anything else is an error,
// after which nothing is left running. Errors wrap ErrInUse, natsd.ErrListen,
// postgres.ErrNotInstalled or postgres.ErrUnreachable where they apply.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	s := &Stack{
		DatabaseURL: cfg.DatabaseURL, NATSURL: cfg.NATSURL, RedisURL: cfg.RedisURL,
		logger: cfg.Logger, done: make(chan error, 1),
	}
	if err := s.lockDir(cfg); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	if cfg.DatabaseURL == "" {
		group.Go(func() error { return s.startPostgres(groupCtx, cfg) })
	}
	if cfg.NATSURL == "" {
		group.Go(func() error { return s.startNATS(cfg) })
	}
	if cfg.RedisURL == "" {
		group.Go(func() error { return s.startRedis(groupCtx, cfg) })
	}
	if err := group.Wait(); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWait)
		defer cancel()
		return nil, errors.Join(err, s.Stop(undo))
	}
	return s, nil
}

func (s *Stack) lockDir(cfg Config) error {
	if cfg.DatabaseURL != "" && cfg.NATSURL != "" && cfg.RedisURL != "" {
		return nil
	}
	if cfg.Dir == "" {
		return errors.New("no data directory given")
	}
	// Without such a user the private PostgreSQL will say so; a given one needs none.
	as, _ := osuser.Choose(filepath.Join(cfg.Dir, "postgres", "data"), postgres.Users()...)
	if err := as.MakeDir(cfg.Dir); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	held, err := lock.Acquire(cfg.Dir)
	s.lock = held
	return err
}

func (s *Stack) startPostgres(ctx context.Context, cfg Config) error {
	server, err := postgres.Start(ctx, postgres.Config{Dir: filepath.Join(cfg.Dir, "postgres")})
	if err != nil {
		return err
	}
	port := server.Port()
	s.postgres = supervise("PostgreSQL", server, s.logger, func(ctx context.Context) (running, error) {
		return postgres.Start(ctx, postgres.Config{Dir: filepath.Join(cfg.Dir, "postgres"), Port: port})
	}, s.fail)
	s.DatabaseURL = server.URL(Database)
	s.logger.Debug("private PostgreSQL runs", zap.Int("port", port), zap.Int("pid", server.Pid()))
	return server.CreateDatabase(ctx, Database)
}

func (s *Stack) startNATS(cfg Config) error {
	config := natsd.Config{
		Listen: cfg.NATSListen, Dir: filepath.Join(cfg.Dir, "nats"),
		SyncAlways: cfg.NATSSyncAlways, Logger: s.logger,
	}
	start := func(context.Context) (running, error) {
		server, err := natsd.Start(config)
		if err != nil {
			return nil, err
		}
		s.server.Store(server)
		return stoppable{server}, nil
	}
	server, err := start(context.Background())
	if err != nil {
		return err
	}
	s.NATSURL = s.NATS().URL()
	config.Listen = strings.TrimPrefix(s.NATSURL, "nats://")
	s.nats = supervise("NATS", server, s.logger, start, s.fail)
	s.logger.Debug("NATS server runs", zap.String("url", s.NATSURL))
	return nil
}

// startRedis returns no error of Redis': a cache is never needed, so its trouble stops nothing.
func (s *Stack) startRedis(ctx context.Context, cfg Config) error {
	server, err := redis.Start(ctx, redis.Config{Dir: filepath.Join(cfg.Dir, "redis")})
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case errors.Is(err, redis.ErrNotInstalled):
		s.logger.Info("no redis-server on this machine, going on without")
		return nil
	case err != nil:
		s.logger.Warn("no private Redis, going on without", zap.Error(err))
		return nil
	}
	port := server.Port()
	s.redis = supervise("Redis", server, s.logger, func(ctx context.Context) (running, error) {
		return redis.Start(ctx, redis.Config{Dir: filepath.Join(cfg.Dir, "redis"), Port: port})
	}, func(err error) { s.logger.Error("Redis is gone, going on without", zap.Error(err)) })
	s.RedisURL = server.URL()
	s.logger.Debug("private Redis runs", zap.Int("port", port), zap.Int("pid", server.Pid()))
	return nil
}

func (s *Stack) fail(err error) {
	select {
	case s.done <- err:
	default:
	}
}

// Done gives at most one error: a server that the pipeline needs ended by itself and could not be
// started again. It is never closed, so a receive from it may wait for ever.
func (s *Stack) Done() <-chan error { return s.done }

// NATS returns the server in this process, for connections without a socket; nil when NATSURL was
// given.
func (s *Stack) NATS() *natsd.Server { return s.server.Load() }

// stoppable is a NATS server that is stopped like the others.
type stoppable struct{ *natsd.Server }

// Stop is natsd's, for as long as ctx lasts.
func (s stoppable) Stop(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Server.Stop()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop NATS server: %w", ctx.Err())
	}
}

// Stop ends what was started, PostgreSQL last, and gives the directory free. It waits for all that;
// when ctx ends, it kills what still runs. A repeated call returns the first one's result.
func (s *Stack) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		var errs []error
		if s.redis != nil {
			errs = append(errs, s.redis.stop(ctx))
		}
		if s.nats != nil {
			errs = append(errs, s.nats.stop(ctx))
		}
		if s.postgres != nil {
			errs = append(errs, s.postgres.stop(ctx))
		}
		if s.lock != nil {
			s.lock.Release()
		}
		s.stopErr = errors.Join(errs...)
	})
	return s.stopErr
}
