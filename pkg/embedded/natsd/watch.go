package natsd

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// watchEvery is the time between two checks of the server.
	watchEvery = 2 * time.Second
	// minFreeBytes must fit on the disk before a restart is worth trying.
	minFreeBytes = 4 << 20
)

// ErrBroken means that the server runs but does not work.
var ErrBroken = errors.New("NATS can't write")

// Done is closed when the server no longer works and a restart would help. After a
// failed write, for example on a full disk, the server does not write to that stream
// again until it is restarted.
func (s *Server) Done() <-chan struct{} { return s.broken }

// Err returns why Done is closed, as an error that wraps ErrBroken. It is nil before.
func (s *Server) Err() error {
	select {
	case <-s.broken:
		return s.cause
	default:
		return nil
	}
}

func (s *Server) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopped:
			return
		case <-ticker.C:
		}
		if err := s.check(); err != nil && hasDiskSpace(s.dir) {
			s.cause = err
			close(s.broken)
			return
		}
	}
}

// check asks for the server's /healthz without a connection.
func (s *Server) check() error {
	response := healthResponse{header: http.Header{}}
	s.nats.HandleHealthz(&response, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/healthz"}})
	if response.code < http.StatusInternalServerError || !strings.Contains(response.text.String(), "write error") {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrBroken, response.text.String())
}

// hasDiskSpace reports whether files can be written.
func hasDiskSpace(dir string) bool {
	path := filepath.Join(dir, "room")
	err := os.WriteFile(path, make([]byte, minFreeBytes), 0o600)
	_ = os.Remove(path) // a part of it may be there
	return err == nil
}

// healthResponse is an http.ResponseWriter without a client.
type healthResponse struct {
	header http.Header
	code   int
	text   strings.Builder
}

func (a *healthResponse) Header() http.Header            { return a.header }
func (a *healthResponse) WriteHeader(code int)           { a.code = code }
func (a *healthResponse) Write(text []byte) (int, error) { return a.text.Write(text) }
