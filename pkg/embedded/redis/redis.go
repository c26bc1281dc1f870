// Package redis runs a private Redis as a child process. The dispatcher uses it if no
// Redis is configured, and tests use it as a real server.
//
// It listens only on 127.0.0.1 and requires a random password, which is kept in the
// directory. Writes go to an append-only file that is synced every second. Config.Dir
// contains data/, redis.conf, password, redis.log, lock and running. If root starts
// it, it runs as the user redis, else nobody.
package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/datadir"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/lock"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

var (
	// ErrNotInstalled means that neither redis-server nor valkey-server was found. The
	// error text says how to install one. The pipeline works without it.
	ErrNotInstalled = errors.New("Redis is not installed")
	// ErrInUse means that another of our processes runs a server in the directory.
	ErrInUse = lock.ErrInUse
	// ErrUnreachable means that the server's user can't access the directory.
	ErrUnreachable = osuser.ErrUnreachable
)

const (
	startTimeout = time.Minute // loading the append-only file included
	retryPause   = 50 * time.Millisecond
)

// Config says where and how the server runs.
type Config struct {
	// Dir holds all files of the server. It is created if missing. With Ephemeral, a
	// temporary directory is created in it; empty means the system's temporary
	// directory.
	Dir string
	// Port is the port to listen on. 0 means a free one, chosen at each start.
	Port int
	// Log receives the server's output. Nil means redis.log in the directory.
	Log io.Writer
	// Ephemeral is for tests: nothing is written to disk. Stop removes the directory,
	// and so does a watcher if this process dies first.
	Ephemeral bool
}

// Server is a running Redis. All methods are safe for concurrent use.
type Server struct {
	port     int
	password string
	process  *process.Process
	dir      *datadir.Dir
	stopOnce sync.Once
	stopErr  error
}

// Start runs the server and returns when it responds, within one minute. It first
// ends a server that a killed predecessor has left. Errors wrap ErrNotInstalled,
// ErrInUse or ErrUnreachable where they apply. If ctx ends first, no server is left
// running.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("Redis was not ready within %s", startTimeout))
	defer cancel()
	program, err := find()
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	at, err := datadir.Open(datadir.Config{
		Name: "redis", Dir: cfg.Dir, Ephemeral: cfg.Ephemeral, Output: cfg.Log,
		Users: []string{"redis", "_redis", "valkey", "nobody"},
	})
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	server, err := start(ctx, cfg, program, at)
	if err != nil {
		at.Close()
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	return server, nil
}

func start(ctx context.Context, cfg Config, program string, at *datadir.Dir) (*Server, error) {
	password, err := at.Password()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(at.Data, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := at.User.Chown(at.Data); err != nil {
		return nil, err
	}
	server := &Server{password: password, dir: at}
	for {
		err := server.launch(ctx, cfg, program)
		if err == nil {
			return server, nil
		}
		if cfg.Port != 0 || !at.PortTaken() {
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
func (s *Server) launch(ctx context.Context, cfg Config, program string) (err error) {
	if s.port, err = datadir.Port(cfg.Port); err != nil {
		return err
	}
	s.dir.Mark()
	// The password is passed in a file, because everyone can read a command line.
	file := filepath.Join(s.dir.Root, "redis.conf")
	s.process, err = s.dir.Run(ctx, process.Config{
		Path: program,
		Args: []string{file},
		Env:  []string{"LC_ALL=C", "PATH=/usr/bin:/bin"},
		Dir:  s.dir.Data,
	}, func() error { return s.dir.WriteFile(file, s.settings()) })
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		_ = s.process.Stop(context.WithoutCancel(ctx))
		return fmt.Errorf("%w%s", err, s.dir.OutputSuffix())
	}
	return nil
}

func (s *Server) settings() string {
	appendOnly := "yes"
	if s.dir.Ephemeral {
		appendOnly = "no"
	}
	return strings.Join([]string{
		"bind " + datadir.Host,
		"port " + strconv.Itoa(s.port),
		"requirepass " + s.password,
		"dir " + strconv.Quote(s.dir.Data),
		"appendonly " + appendOnly,
		"appendfsync everysec",
		`save ""`,
		"databases 1",
		"daemonize no",
		"loglevel warning",
	}, "\n") + "\n"
}

// ready waits until the server has loaded its data and responds. Only our server
// knows the password, so another server on the same port is never mistaken for it.
func (s *Server) ready(ctx context.Context) error {
	const pause = 5 * time.Millisecond
	for {
		err := s.ping()
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			return s.process.Err()
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

func (s *Server) ping() error {
	conn, err := net.DialTimeout("tcp4", datadir.Address(s.port), time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", s.password); err != nil {
		return err
	}
	replies := bufio.NewReader(conn)
	for _, want := range []string{"+OK", "+PONG"} {
		line, err := replies.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.TrimSpace(line); line != want {
			return fmt.Errorf("the server replies %q", line)
		}
	}
	return nil
}

// Port returns the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// URL returns the server's address, with the password.
func (s *Server) URL() string {
	address := url.URL{Scheme: "redis", User: url.UserPassword("", s.password), Host: datadir.Address(s.port), Path: "/0"}
	return address.String()
}

// Pid returns the server's process id.
func (s *Server) Pid() int { return s.process.Pid() }

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

// Stop ends the server, which saves its data, unlocks the directory and removes it if
// it is ephemeral. If ctx ends, or after 10 s, it kills the server. A repeated call
// returns the result of the first one.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopErr = s.process.Stop(ctx)
		s.dir.Close()
	})
	return s.stopErr
}

// find returns the path of the server's program: from PATH, else from directories of
// Homebrew or those that only root's PATH contains.
func find() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		for _, dir := range []string{"", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return filepath.Abs(path)
			}
		}
	}
	return "", fmt.Errorf("%w: run: make deps, or set REDIS_URL to a server of yours", ErrNotInstalled)
}
