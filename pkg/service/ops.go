package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/service/framing"
)

// Ops is the HTTP server for operators. It serves GET /health, /health/ready and
// /metrics.
type Ops struct {
	listener net.Listener // nil: off
	server   *http.Server
}

// ListenOps listens on addr, the value of HEALTH_ADDR. A port that is taken is an
// error here, at the start. Probes are answered once Run is called. If addr is
// empty, there is no server and Run only waits for its context.
func ListenOps(addr string, health *Health, metrics *Metrics) (*Ops, error) {
	if addr == "" {
		return &Ops{}, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on HEALTH_ADDR=%s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", health.ServeLive)
	mux.HandleFunc("GET /health/ready", health.ServeReady)
	mux.Handle("GET /metrics", metrics.Handler())
	return &Ops{listener: framing.Listen(listener), server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}}, nil
}

// Addr returns the listen address with the actual port, also if port 0 was
// requested. It is empty if there is no server.
func (o *Ops) Addr() string {
	if o.listener == nil {
		return ""
	}
	return o.listener.Addr().String()
}

// Run serves until ctx ends. Requests in flight then get one more second. Register
// it first in a Group: it then stops last, and probes can watch the drain.
func (o *Ops) Run(ctx context.Context) error {
	if o.listener == nil {
		<-ctx.Done()
		return nil
	}
	failed := make(chan error, 1)
	go func() { failed <- o.server.Serve(o.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve health and metrics: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if o.server.Shutdown(last) != nil {
		_ = o.server.Close() // cuts a scrape short; nothing is lost
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}
