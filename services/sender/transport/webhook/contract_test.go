package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
	"github.com/message-dispatcher/dispatch/services/sender/transport/transporttest"
)

func TestTheClientKeepsTheContractOfATransport(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]struct{ secure, http2, standard bool }{
		"http1": {}, "net/http": {standard: true}, "http1 with TLS": {secure: true}, "net/http with TLS": {secure: true, standard: true},
		"HTTP/2": {secure: true, http2: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				t.Helper()
				h := &harness{release: make(chan struct{}), arrived: make(chan struct{}, 1000)}
				h.server = httptest.NewUnstartedServer(h)
				h.server.EnableHTTP2 = kind.http2
				if kind.secure {
					server, _ := certificate()
					h.server.TLS = server.Clone()
					h.server.StartTLS()
				} else {
					h.server.Start()
				}
				t.Cleanup(h.server.Close)
				t.Cleanup(func() { close(h.release) })
				h.target = newTarget(t, h.server.URL+"/hook?key="+transporttest.Secret, trusting, briefly)
				if kind.standard {
					h.useStandard()
				}
				return h
			})
		})
	}
}

// harness is a Client with an HTTP server.
type harness struct {
	*target
	server  *httptest.Server
	release chan struct{} // closed at the end
	arrived chan struct{}

	mu        sync.Mutex
	behaviour transporttest.Behaviour
	bodies    []string
}

func (h *harness) Transport() transport.Transport { return h.client }

func (h *harness) Request(body []byte) transport.Request {
	header := http.Header{"Idempotency-Key": {"1"}, "Authorization": {transporttest.Secret}}
	return transport.Request{URL: h.to, Header: header, Body: body}
}

func (h *harness) Set(b transporttest.Behaviour) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.behaviour = b
}

func (h *harness) Bodies() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.bodies...)
}

func (h *harness) Arrived() <-chan struct{} { return h.arrived }

// DropIdle is of no use with HTTP/2: the goroutine of net/http that reads may
// not have noticed the end of the connection when the next request is written.
func (h *harness) DropIdle() bool {
	h.server.CloseClientConnections()
	return !h.server.EnableHTTP2
}

func (h *harness) Stop() {
	_ = h.server.Listener.Close()
	h.server.CloseClientConnections()
}

func (h *harness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.bodies = append(h.bodies, string(body))
	behaviour := h.behaviour
	h.mu.Unlock()
	h.arrived <- struct{}{}
	flush := func() { _ = http.NewResponseController(rw).Flush() }
	switch behaviour {
	case transporttest.Accepts:
		_, _ = io.WriteString(rw, transporttest.Accepted)
	case transporttest.Rejects:
		rw.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(rw, transporttest.Rejected)
	case transporttest.HangsUp:
		panic(http.ErrAbortHandler)
	case transporttest.IsSilent:
		<-h.release
	case transporttest.Floods:
		for _, err := rw.Write(make([]byte, 4096)); err == nil; _, err = rw.Write(make([]byte, 4096)) {
			flush()
		}
	case transporttest.Stalls:
		_, _ = io.WriteString(rw, transporttest.Accepted)
		flush()
		<-h.release
	}
}
