// Package embedded starts the servers that the dispatcher needs. A NATS server runs
// inside this process. A private PostgreSQL and a private Redis run as child
// processes. A server whose address is configured is used instead and not started.
//
//	Config.Dir/
//	├── lock       held while one of our processes uses the directory
//	├── postgres/  see package postgres
//	├── redis/     see package redis
//	└── nats/      JetStream's files
//
// The data outlives the process. The servers never do, not even after kill -9 (see
// package process).
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

// undoTimeout limits the stop of the servers that a failed start has already
// started.
const undoTimeout = 30 * time.Second

// ErrInUse means that another of our processes uses the directory.
var ErrInUse = lock.ErrInUse

// Config says what to start. A server whose address is set is not started.
type Config struct {
	// Dir holds the data of all servers that are started. It is created if missing.
	Dir string
	// DatabaseURL, NATSURL and RedisURL are used unchanged if set.
	DatabaseURL, NATSURL, RedisURL string
	// NATSListen is the listen address of the NATS server. Empty means
	// natsd.DefaultListen.
	NATSListen string
	// NATSSyncAlways makes JetStream sync every write, see natsd.Config.
	NATSSyncAlways bool
	// Logger logs starts and unexpected ends of servers. Nil discards them.
	Logger *zap.Logger
}

// Stack is the set of servers in use. Its methods are safe for concurrent use.
type Stack struct {
	// DatabaseURL, NATSURL and RedisURL are the addresses of the servers, configured or started.
	// They don't change until Stop. RedisURL is empty if there is no Redis.
	DatabaseURL, NATSURL, RedisURL string

	logger   *zap.Logger
	lock     *lock.Lock
	nats     *supervisor
	server   atomic.Pointer[natsd.Server] // present server of nats
	postgres *supervisor
	redis    *supervisor
	done     chan error
	stop     sync.Once
	stopErr  error
}

// Start starts all servers without a configured address, concurrently, and returns
// when all respond: within a second, or about two for a new directory. It creates
// the database if missing. If Redis can't be started, it logs that and goes on. Any
// other failure is an error, after which no server is left running. Errors wrap
// ErrInUse, natsd.ErrListen, postgres.ErrNotInstalled or postgres.ErrUnreachable
// where they apply.
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
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
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
	// The start of a private PostgreSQL reports a missing user; a configured one needs none.
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
	s.postgres = supervise("PostgreSQL", server, s.logger, func(ctx context.Context) (managedServer, error) {
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
	start := func(context.Context) (managedServer, error) {
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

// startRedis returns no error of Redis, because the pipeline works without it. It
// returns an error only if ctx ends.
func (s *Stack) startRedis(ctx context.Context, cfg Config) error {
	server, err := redis.Start(ctx, redis.Config{Dir: filepath.Join(cfg.Dir, "redis")})
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case errors.Is(err, redis.ErrNotInstalled):
		s.logger.Info("redis-server is not installed, continuing without Redis")
		return nil
	case err != nil:
		s.logger.Warn("private Redis did not start, continuing without Redis", zap.Error(err))
		return nil
	}
	port := server.Port()
	s.redis = supervise("Redis", server, s.logger, func(ctx context.Context) (managedServer, error) {
		return redis.Start(ctx, redis.Config{Dir: filepath.Join(cfg.Dir, "redis"), Port: port})
	}, func(err error) {
		s.logger.Error("Redis could not be restarted, continuing without Redis", zap.Error(err))
	})
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

// Done delivers at most one error: a required server has ended and could not be
// restarted. The channel is never closed, so a receive may block forever.
func (s *Stack) Done() <-chan error { return s.done }

// NATS returns the server in this process, for connections without a socket. It is
// nil if NATSURL was set.
func (s *Stack) NATS() *natsd.Server { return s.server.Load() }

// stoppable adapts a NATS server to managedServer.
type stoppable struct{ *natsd.Server }

// Stop stops the server. It returns an error if ctx ends first.
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

// Stop stops the servers, PostgreSQL last, and unlocks the directory. If ctx ends
// first, it kills the servers that still run. A repeated call returns the result of
// the first one.
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
