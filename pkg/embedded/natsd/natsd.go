// Package natsd runs a NATS server with JetStream inside this process. The
// dispatcher uses it if no NATS is configured, and tests use it as a real server.
package natsd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/lock"
)

var (
	// ErrListen means that the server can't listen on the address, usually because
	// another server does.
	ErrListen = errors.New("cannot listen for NATS")
	// ErrInUse means that another of our processes runs a server in the directory.
	ErrInUse = lock.ErrInUse
)

const (
	// DefaultListen is where NATS' tools look for a server.
	DefaultListen = "127.0.0.1:4222"
	startTimeout  = 10 * time.Second
	// cannotListen begins the server's error when it can't listen on the address.
	cannotListen = "Error listening on port"
)

// Config says where and how the server runs.
type Config struct {
	// Listen is the host and port for clients. Port 0 or -1 means a free one. Empty
	// means DefaultListen. There is no authentication: an address other than
	// loopback is open to its network.
	Listen string
	// Dir is the directory of JetStream's streams. It is created if missing.
	Dir string
	// SyncAlways syncs every write to disk before it is acknowledged. This costs
	// most of the speed of single publishes. Without it a power cut may lose the
	// last second.
	SyncAlways bool
	// Logger receives the server's log, notices at debug level. Nil discards it.
	Logger *zap.Logger
}

// Server is a running NATS server. All methods are safe for concurrent use.
type Server struct {
	nats    *server.Server
	lock    *lock.Lock
	once    sync.Once
	dir     string
	stopped chan struct{}
	broken  chan struct{}
	cause   error // read after broken is closed
}

// Start runs the server and returns when it accepts connections: within
// milliseconds, plus the time to recover the data in Dir. Errors wrap ErrListen or
// ErrInUse where they apply. The process's signal handlers are not changed.
func Start(cfg Config) (*Server, error) {
	options, err := serverOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	held, err := lock.Acquire(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	s, err := start(options, cfg.Logger)
	if err != nil {
		held.Release()
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	running := &Server{nats: s, lock: held, dir: cfg.Dir, stopped: make(chan struct{}), broken: make(chan struct{})}
	go running.watch()
	return running, nil
}

func start(options *server.Options, logger *zap.Logger) (*server.Server, error) {
	s, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	log := newLog(logger)
	s.SetLogger(log, false, false)
	s.Start()
	if log.fatal() == nil && s.ReadyForConnections(startTimeout) {
		return s, nil
	}
	s.Shutdown()
	s.WaitForShutdown()
	switch err := log.fatal(); {
	case err == nil:
		return nil, fmt.Errorf("it does not accept connections after %s", startTimeout)
	case strings.HasPrefix(err.Error(), cannotListen):
		return nil, fmt.Errorf("%w: %w: set NATS_LISTEN to a free host:port, or NATS_URL to use the existing server", ErrListen, err)
	default:
		return nil, err
	}
}

func serverOptions(cfg Config) (*server.Options, error) {
	if cfg.Dir == "" {
		return nil, errors.New("no directory given")
	}
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	return &server.Options{
		ServerName: "dispatch",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   cfg.Dir,
		SyncAlways: cfg.SyncAlways,
		// One second costs nothing measurable compared with the default of two
		// minutes, and limits what a power cut may lose.
		SyncInterval: time.Second,
		// Streams reserve their limits. Only the real free space counts, so a small
		// disk must not fail because it could not hold all limits at once.
		JetStreamMaxStore: 1 << 40,
		NoSigs:            true,
	}, nil
}

func splitListen(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err == nil && port > 65535 {
		err = errors.New("no such port")
	}
	if err != nil {
		return "", 0, fmt.Errorf("%w: NATS_LISTEN=%s is no host:port: %w", ErrListen, listen, err)
	}
	if port <= 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// URL returns the address for clients on this machine.
func (s *Server) URL() string { return s.nats.ClientURL() }

// InProcessConn makes the server a nats.InProcessConnProvider:
// nats.Connect("", nats.InProcessServer(server)) connects without a socket.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// Stop closes the clients' connections, flushes the streams, waits for the end of
// the server and unlocks the directory. It may be called repeatedly.
func (s *Server) Stop() {
	s.once.Do(func() {
		close(s.stopped)
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		s.lock.Release()
	})
}
