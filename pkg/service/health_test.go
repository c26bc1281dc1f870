package service

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
)

func always(s Status) Check { return func(context.Context) Status { return s } }

func TestReady(t *testing.T) {
	t.Parallel()
	type check struct {
		name  string
		worst State
		check Check
	}
	tests := map[string]struct {
		checks []check
		code   int
		body   string
	}{
		"without checks": {nil, 200, `{"status":"ok","checks":{}}`},
		"all well":       {[]check{{"postgres", StateDown, always(OK())}}, 200, `{"status":"ok","checks":{"postgres":{"status":"ok"}}}`},
		"degraded is ready": {
			[]check{{"postgres", StateDown, always(OK())}, {"nats", StateDown, always(Degraded("slow"))}},
			200, `{"status":"degraded","checks":{"postgres":{"status":"ok"},"nats":{"status":"degraded","detail":"slow"}}}`,
		},
		"down is not ready": {
			[]check{{"redis", StateDegraded, always(Degraded(""))}, {"postgres", StateDown, Ping(func(context.Context) error { return errors.New("user=geheim") }, func(error) string { return "not reachable" })}},
			503, `{"status":"down","checks":{"redis":{"status":"degraded"},"postgres":{"status":"down","detail":"not reachable"}}}`,
		},
		"an optional dependency only degrades": {
			[]check{{"redis", StateDegraded, Ping(func(context.Context) error { return errors.New("x") }, func(error) string { return "not reachable" })}},
			200, `{"status":"degraded","checks":{"redis":{"status":"degraded","detail":"not reachable"}}}`,
		},
		"a panic is a result": {
			[]check{{"redis", StateDegraded, func(context.Context) Status { panic("ouch") }}},
			200, `{"status":"degraded","checks":{"redis":{"status":"degraded","detail":"check panicked: ouch"}}}`,
		},
		"no secrets": {
			[]check{{"nats", StateDown, always(Down("dial nats://u:geheim@h:1\nrefused"))}},
			503, `{"status":"down","checks":{"nats":{"status":"down","detail":"dial nats://***@h:1 refused"}}}`,
		},
		"an unknown state is the worst": {
			[]check{{"nats", StateDown, always(Status{State: "what"})}},
			503, `{"status":"down","checks":{"nats":{"status":"down"}}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHealth()
			for _, c := range tt.checks {
				h.Add(c.name, c.worst, c.check)
			}
			h.Serving()
			code, body := h.Ready()
			assert.Equal(t, tt.code, code)
			assert.JSONEq(t, tt.body, string(body))

			w := httptest.NewRecorder()
			h.ServeReady(w, httptest.NewRequest(http.MethodGet, "/", nil))
			assert.Equal(t, tt.code, w.Code)
			assert.JSONEq(t, tt.body, w.Body.String())
			assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		})
	}
}

func TestReadyOnlyWhileServing(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	h.Add("postgres", StateDown, always(OK()))
	code, body := h.Ready()
	assert.Equal(t, 503, code)
	assert.JSONEq(t, `{"status":"down","checks":{"postgres":{"status":"ok"},"service":{"status":"down","detail":"starting"}}}`, string(body))
	h.Serving()
	code, _ = h.Ready()
	assert.Equal(t, 200, code, "at once, although check results are reused for a second")
	h.Stopping()
	code, body = h.Ready()
	assert.Equal(t, 503, code)
	assert.Contains(t, string(body), `"detail":"stopping"`)
	code, body = h.Live()
	assert.Equal(t, 200, code)
	assert.JSONEq(t, `{"status":"ok"}`, string(body))
}

func TestAnIncludedServiceIsShownAndOnlyDegrades(t *testing.T) {
	t.Parallel()
	h, sender := NewHealth(), NewHealth()
	h.Include("sender", sender)
	h.Add("nats", StateDegraded, always(OK()))
	sender.Add("nats", StateDown, always(Down("not connected")))
	sender.Add("postgres", StateDown, always(OK()))
	h.Serving()

	code, body := h.Ready()
	assert.Equal(t, http.StatusServiceUnavailable, code, "down until the included service has started")
	assert.JSONEq(t, `{"status":"down","checks":{"nats":{"status":"ok"},"sender.nats":{"status":"degraded","detail":"not connected"},
		"sender.postgres":{"status":"ok"},"sender.service":{"status":"down","detail":"starting"}}}`, string(body))

	sender.Serving()
	code, _ = h.Ready()
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, StateDegraded, h.Report().State)
	assert.Equal(t, StateDown, sender.Report().State, "the sender itself is down")

	metrics := NewMetrics()
	metrics.WatchHealth("ingest", h)
	metrics.WatchHealth("sender", sender)
	assert.NoError(t, testutil.GatherAndCompare(metrics, strings.NewReader(`# HELP dispatch_dependency_state 1 for the state that the dependency is in: ok, degraded or down.
# TYPE dispatch_dependency_state gauge
dispatch_dependency_state{dependency="nats",service="ingest",state="degraded"} 0
dispatch_dependency_state{dependency="nats",service="ingest",state="down"} 0
dispatch_dependency_state{dependency="nats",service="ingest",state="ok"} 1
dispatch_dependency_state{dependency="nats",service="sender",state="degraded"} 0
dispatch_dependency_state{dependency="nats",service="sender",state="down"} 1
dispatch_dependency_state{dependency="nats",service="sender",state="ok"} 0
dispatch_dependency_state{dependency="postgres",service="sender",state="degraded"} 0
dispatch_dependency_state{dependency="postgres",service="sender",state="down"} 0
dispatch_dependency_state{dependency="postgres",service="sender",state="ok"} 1
`), "dispatch_dependency_state"), "each service shows only its own checks")
}

func TestFrequentProbesShareOneRunOfTheChecks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		h := NewHealth()
		h.Add("a", StateDown, func(context.Context) Status {
			time.Sleep(100 * time.Millisecond) // the fake clock's
			runs.Add(1)
			return OK()
		})
		var probes sync.WaitGroup
		for range 50 {
			probes.Go(func() { h.Report() })
		}
		probes.Wait()
		assert.EqualValues(t, 1, runs.Load())
		time.Sleep(999 * time.Millisecond)
		h.Report()
		assert.EqualValues(t, 1, runs.Load())
		time.Sleep(2 * time.Millisecond)
		h.Report()
		assert.EqualValues(t, 2, runs.Load())
	})
}

func TestChecksRunConcurrentlyWithinATimeLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var runs atomic.Int32
		h := NewHealth()
		h.Serving()
		polite := func(ctx context.Context) Status { <-ctx.Done(); return Down("gave up") }
		h.Add("a", StateDown, polite)
		h.Add("b", StateDown, polite)
		h.Add("hanging", StateDegraded, func(context.Context) Status { runs.Add(1); <-release; return OK() })

		began := time.Now()
		report := h.Report()
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, Status{State: StateDegraded, Detail: "no result within 1s"}, report.Checks["hanging"])
		assert.Equal(t, StateDown, report.State)

		time.Sleep(time.Minute)
		h.Report()
		assert.EqualValues(t, 1, runs.Load(), "a hanging check is not started a second time")

		close(release)
		time.Sleep(time.Minute)
		assert.Equal(t, OK(), h.Report().Checks["hanging"])
		assert.EqualValues(t, 2, runs.Load(), "a late result is discarded")
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	h.Add("redis", StateDegraded, always(Degraded("x")))
	h.Serving()
	m := NewMetrics()
	m.WatchHealth("ingest", h)
	m.WatchHealth("sender", NewHealth())

	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	page := w.Body.String()
	for _, line := range []string{
		`dispatch_build_info{version="` + Version() + `"} 1`,
		`dispatch_dependency_state{dependency="redis",service="ingest",state="degraded"} 1`,
		`dispatch_dependency_state{dependency="redis",service="ingest",state="ok"} 0`,
		`dispatch_dependency_state{dependency="service",service="sender",state="down"} 1`,
		"go_goroutines ",
	} {
		assert.Contains(t, page, line)
	}
	assert.NotContains(t, page, `dependency="service",service="ingest"`)
	problems, err := testutil.GatherAndLint(m, "dispatch_build_info", "dispatch_dependency_state")
	assert.NoError(t, err)
	assert.Empty(t, problems)
	assert.Panics(t, func() { m.WatchHealth("ingest", h) })
}
