package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/datadir"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/lock"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

var (
	// ErrNotInstalled means that no PostgreSQL server was found. The error text says
	// how to install one.
	ErrNotInstalled = errors.New("PostgreSQL is not installed")
	// ErrInUse means that another of our processes runs a server in the directory.
	ErrInUse = lock.ErrInUse
	// ErrUnreachable means that the server's user can't access the directory.
	ErrUnreachable = osuser.ErrUnreachable
)

const (
	superuser = "dispatch"
	// stopGrace covers the checkpoint of a fast shutdown on a slow disk.
	stopGrace = 30 * time.Second
	// startTimeout covers crash recovery of all write-ahead log that max_wal_size
	// allows.
	startTimeout = 2 * time.Minute
)

// Config says where and how the server runs.
type Config struct {
	// Dir holds all files of the server. It is created if missing. With Ephemeral, a
	// temporary directory is created in it; empty means the system's temporary
	// directory.
	Dir string
	// Port is the port to listen on. 0 means a free one, chosen at each start.
	Port int
	// Settings override the defaults. Keys are PostgreSQL's names, for example
	// "max_connections".
	Settings map[string]string
	// Log receives the server's output. Nil means postgres.log in the directory.
	Log io.Writer
	// Ephemeral is for tests: nothing is synced to disk. Stop removes the data, and
	// so does a watcher if this process dies first.
	Ephemeral bool
}

// Server is a running PostgreSQL. All methods are safe for concurrent use.
type Server struct {
	port     int
	password string
	process  *process.Process
	dir      directory
	stopOnce sync.Once
	stopErr  error
}

// Start runs the server and returns when it answers queries: after about one second,
// or three for a new directory. It first ends a server that a killed predecessor has
// left. Errors wrap ErrNotInstalled, ErrInUse or ErrUnreachable where they apply, and
// end with the server's last output. Start takes at most two minutes. If ctx ends
// first, no server is left running.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("PostgreSQL was not ready within %s", startTimeout))
	defer cancel()
	at, err := datadir.Open(datadir.Config{
		Name: "postgres", Dir: cfg.Dir, Ephemeral: cfg.Ephemeral, Output: cfg.Log,
		Users: Users(),
	})
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	server, err := start(ctx, cfg, directory{at})
	if err != nil {
		at.Close()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return server, nil
}

func start(ctx context.Context, cfg Config, dir directory) (*Server, error) {
	args, err := arguments(cfg)
	if err != nil {
		return nil, err
	}
	bin, err := findBinaries(dir.User, dir.version(), candidates())
	if err != nil {
		return nil, err
	}
	password, err := dir.initialise(ctx, bin)
	if err != nil {
		return nil, err
	}
	server := &Server{password: password, dir: dir}
	for {
		err := server.launch(ctx, cfg, filepath.Join(bin, "postgres"), args)
		if err == nil {
			return server, nil
		}
		if !dir.retryable(cfg.Port) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryPause):
		}
	}
}

// launch makes one attempt to start the server.
func (s *Server) launch(ctx context.Context, cfg Config, program string, args []string) (err error) {
	if s.port, err = datadir.Port(cfg.Port); err != nil {
		return err
	}
	s.dir.Mark()
	signal := syscall.SIGINT // fast: rolls back what is open
	if cfg.Ephemeral {
		signal = syscall.SIGQUIT // immediate: no checkpoint of what is removed anyway
	}
	s.process, err = s.dir.Run(ctx, process.Config{
		Path:   program,
		Args:   append([]string{"-D", s.dir.Data, "-p", strconv.Itoa(s.port)}, args...),
		Env:    environment(),
		Dir:    s.dir.Data,
		Signal: signal,
		Grace:  stopGrace,
	}, s.dir.clearStalePID)
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		_ = s.process.Stop(context.WithoutCancel(ctx))
		return fmt.Errorf("%w%s", err, s.dir.OutputSuffix())
	}
	return nil
}

// ready waits until a query is answered. Only our server knows the password, so
// another server on the same port is never mistaken for it.
func (s *Server) ready(ctx context.Context) error {
	const pause = 10 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		timer.Reset(pause)
		select {
		case <-s.process.Done():
			return s.process.Err()
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Users returns the users that root may run the server as. The first that exists is
// used, unless data exists already; then its owner is used.
func Users() []string { return []string{"postgres", "_postgres", "nobody"} }

// Port returns the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// URL returns the address of a database, with user and password.
func (s *Server) URL(database string) string {
	address := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     datadir.Address(s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return address.String()
}

// CreateDatabase creates a database unless it exists.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var there bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there)
	if err == nil && !there {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// Done is closed when the server has ended, by itself or by Stop.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Err returns why the server ended by itself, with its last output. It is nil while
// the server runs and after Stop.
func (s *Server) Err() error {
	err := s.process.Err()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w%s", err, s.dir.OutputSuffix())
}

// Pid returns the process id of the server's main process.
func (s *Server) Pid() int { return s.process.Pid() }

// Stop aborts open transactions, ends the server, unlocks the directory and removes
// it if it is ephemeral. If ctx ends or 30 s have passed, it kills the server, which
// loses nothing that was committed. A repeated call returns the result of the first
// one.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopErr = s.process.Stop(ctx)
		s.dir.Close()
	})
	return s.stopErr
}

// environment returns the whole environment of PostgreSQL's programs. It contains no
// secrets, and no PGDATA or PGOPTIONS that would change their behaviour. The C locale
// makes messages English; on macOS PostgreSQL does not run without a locale.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
