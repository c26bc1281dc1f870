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
	// watchEvery is how often the server is asked whether it works.
	watchEvery = 2 * time.Second
	// enoughRoom is what must fit on the disk before a start is worth a try.
	enoughRoom = 4 << 20
)

// ErrBroken tells that the server runs and does not work.
var ErrBroken = errors.New("NATS can't write")

// Done is closed when the server does not work any more, and would after another start: a stream
// that could once not be written to, on a full disk, is not written to again until then.
func (s *Server) Done() <-chan struct{} { return s.broken }

// Err says why Done is closed, wrapping ErrBroken; nil before.
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
		if err := s.check(); err != nil && hasRoom(s.dir) {
			s.cause = err
			close(s.broken)
			return
		}
	}
}

// check asks what the server's /healthz would say.
func (s *Server) check() error {
	answer := answer{header: http.Header{}}
	s.nats.HandleHealthz(&answer, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/healthz"}})
	if answer.code < http.StatusInternalServerError || !strings.Contains(answer.text.String(), "write error") {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrBroken, answer.text.String())
}

// hasRoom says whether files can be written again.
func hasRoom(dir string) bool {
	path := filepath.Join(dir, "room")
	err := os.WriteFile(path, make([]byte, enoughRoom), 0o600)
	_ = os.Remove(path) // a part of it may be there
	return err == nil
}

// answer is an http.ResponseWriter without a client.
type answer struct {
	header http.Header
	code   int
	text   strings.Builder
}

func (a *answer) Header() http.Header            { return a.header }
func (a *answer) WriteHeader(code int)           { a.code = code }
func (a *answer) Write(text []byte) (int, error) { return a.text.Write(text) }
