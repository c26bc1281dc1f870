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
	// ErrNotInstalled tells that no PostgreSQL server was found; the message says what to type.
	ErrNotInstalled = errors.New("PostgreSQL is not installed")
	// ErrInUse tells that another process of ours runs a server in the same directory.
	ErrInUse = lock.ErrInUse
	// ErrUnreachable tells that the user the server would run as cannot get at the directory.
	ErrUnreachable = osuser.ErrUnreachable
)

const (
	superuser = "dispatch"
	// stopGrace covers the checkpoint of a fast shutdown on a slow disk.
	stopGrace = 30 * time.Second
	// startLimit covers crash recovery of the most write-ahead log that max_wal_size lets pile up.
	startLimit = 2 * time.Minute
)

// Config says where and how the server runs.
type Config struct {
	// Dir holds everything the server keeps; it is made when missing. With Ephemeral it is where
	// the temporary directory is made, and empty means the system's place for such.
	Dir string
	// Port to listen on; 0 means a free one, another at each start.
	Port int
	// Settings override the defaults by PostgreSQL's own names, e.g. "max_connections": "300".
	Settings map[string]string
	// Log takes what the server says. Nil means postgres.log in the directory.
	Log io.Writer
	// Ephemeral is for tests: nothing is synced to disk, and the data is removed by Stop, or when
	// this process dies without it.
	Ephemeral bool
}

// Server is a running PostgreSQL. All methods may be called concurrently.
type Server struct {
	port     int
	password string
	process  *process.Process
	dir      directory
	stopOnce sync.Once
	stopErr  error
}

// Start runs the server and returns when it answers queries: in about a second, or two more for the
// first start in a directory. A server that was left running or shutting down by a killed
// predecessor is ended first. Errors wrap ErrNotInstalled, ErrInUse or ErrUnreachable where they
// apply, and end with what the server said last. When ctx ends first, nothing is left running.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit,
		fmt.Errorf("PostgreSQL was not ready within %s", startLimit))
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
	bin, err := findBinaries(dir.Account, dir.version(), candidates())
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
		if !dir.worthAnotherTry(cfg.Port) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryPause):
		}
	}
}

// launch makes one attempt to get a server that answers.
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
	}, s.dir.releasePid)
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		_ = s.process.Stop(context.WithoutCancel(ctx))
		return fmt.Errorf("%w%s", err, s.dir.LastWords())
	}
	return nil
}

// ready returns once a query is answered. Only our server knows the password, so another one that
// took the port in between is never mistaken for it.
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

// Users are whom root runs the server as: the first that exists, unless the data is there already,
// whose owner goes on.
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

// CreateDatabase makes a database unless it is there already.
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

// Err returns why the server ended by itself, with its last words in the log; nil while it runs and
// after Stop.
func (s *Server) Err() error {
	err := s.process.Err()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w%s", err, s.dir.LastWords())
}

// Pid returns the number of the server's first process.
func (s *Server) Pid() int { return s.process.Pid() }

// Stop breaks open transactions off, ends the server and gives the directory free; an ephemeral one
// is removed. It waits for all that, until ctx ends or 30 s have passed: then the server is killed,
// which loses nothing that was committed. A repeated call returns the first one's result.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopErr = s.process.Stop(ctx)
		s.dir.Close()
	})
	return s.stopErr
}

// environment is all that PostgreSQL gets of ours: no PGDATA or PGOPTIONS that would turn it
// elsewhere, no secrets. The C locale makes its messages English, and on macOS it refuses to run
// without one.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
