// Package redis runs a private Redis as a child process: the embedded default of the dispatcher's
// cache, and a real server for tests.
//
// It listens on 127.0.0.1 alone and wants a random password, kept in the directory. Writes go to an
// append-only file that is synced every second. Under Config.Dir lie data/, redis.conf, password,
// redis.log and the files lock and running. Started by root it runs as the user redis, else nobody.
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
	// ErrNotInstalled tells that this machine has no redis-server (nor valkey-server); the message
	// says what to type. The pipeline does without.
	ErrNotInstalled = errors.New("Redis is not installed")
	// ErrInUse tells that another process of ours runs a server in the same directory.
	ErrInUse = lock.ErrInUse
	// ErrUnreachable tells that the user the server would run as cannot get at the directory.
	ErrUnreachable = osuser.ErrUnreachable
)

const (
	startLimit = time.Minute // loading the append-only file included
	retryPause = 50 * time.Millisecond
)

// Config says where and how the server runs.
type Config struct {
	// Dir holds everything the server keeps; it is made when missing. With Ephemeral it is where
	// the temporary directory is made, and empty means the system's place for such.
	Dir string
	// Port to listen on; 0 means a free one, another at each start.
	Port int
	// Log takes what the server says. Nil means redis.log in the directory.
	Log io.Writer
	// Ephemeral is for tests: nothing is written to disk, and the directory is removed by Stop, or
	// when this process dies without it.
	Ephemeral bool
}

// Server is a running Redis. All methods may be called concurrently.
type Server struct {
	port     int
	password string
	process  *process.Process
	home     *datadir.Dir
	stopOnce sync.Once
	stopErr  error
}

// Start runs the server and returns when it answers. A server that was left running by a killed
// predecessor is ended first. Errors wrap ErrNotInstalled, ErrInUse or ErrUnreachable where they
// apply. When ctx ends first, nothing is left running.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("Redis was not ready within %s", startLimit))
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
	if err := at.Account.Own(at.Data); err != nil {
		return nil, err
	}
	server := &Server{password: password, home: at}
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

// launch makes one attempt to get a server that answers.
func (s *Server) launch(ctx context.Context, cfg Config, program string) (err error) {
	if s.port, err = datadir.Port(cfg.Port); err != nil {
		return err
	}
	s.home.Mark()
	// The password goes through a file, since a command line can be read by everyone.
	file := filepath.Join(s.home.Root, "redis.conf")
	s.process, err = s.home.Run(ctx, process.Config{
		Path: program,
		Args: []string{file},
		Env:  []string{"LC_ALL=C", "PATH=/usr/bin:/bin"},
		Dir:  s.home.Data,
	}, func() error { return s.home.WriteFile(file, s.settings()) })
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		_ = s.process.Stop(context.WithoutCancel(ctx))
		return fmt.Errorf("%w%s", err, s.home.LastWords())
	}
	return nil
}

func (s *Server) settings() string {
	appendOnly := "yes"
	if s.home.Ephemeral {
		appendOnly = "no"
	}
	return strings.Join([]string{
		"bind " + datadir.Host,
		"port " + strconv.Itoa(s.port),
		"requirepass " + s.password,
		"dir " + strconv.Quote(s.home.Data),
		"appendonly " + appendOnly,
		"appendfsync everysec",
		`save ""`,
		"databases 1",
		"daemonize no",
		"loglevel warning",
	}, "\n") + "\n"
}

// ready returns once the server has loaded its data and answers. Only ours knows the password, so
// another one that took the port in between is never mistaken for it.
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
	answers := bufio.NewReader(conn)
	for _, want := range []string{"+OK", "+PONG"} {
		line, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.TrimSpace(line); line != want {
			return fmt.Errorf("the server answers %q", line)
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

// Pid returns the server's process number.
func (s *Server) Pid() int { return s.process.Pid() }

// Done is closed when the server has ended, by itself or by Stop.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Err returns why the server ended by itself; nil while it runs and after Stop.
func (s *Server) Err() error {
	err := s.process.Err()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w%s", err, s.home.LastWords())
}

// Stop ends the server, which writes out what it holds, and gives the directory free; an ephemeral
// one is removed. When ctx ends, or after 10 s, the server is killed. A repeated call returns the
// first one's result.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopErr = s.process.Stop(ctx)
		s.home.Close()
	})
	return s.stopErr
}

// find returns the server's program: PATH's, else Homebrew's or one that only root's PATH has.
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
