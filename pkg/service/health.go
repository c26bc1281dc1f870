package service

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// State is the state of a dependency or of the whole service.
type State string

// The states, from best to worst. A degraded service still keeps all its promises.
// A service that is down should get no work.
const (
	StateOK       State = "ok"
	StateDegraded State = "degraded"
	StateDown     State = "down"
)

func (s State) rank() int {
	switch s {
	case StateOK:
		return 0
	case StateDegraded:
		return 1
	default: // StateDown, and any unknown state
		return 2
	}
}

// Status is the result of a check. Detail is a short text for people. Everyone who
// can reach the port sees it, so it must not contain a driver's error, which names
// hosts and users.
type Status struct {
	State  State  `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// OK returns the Status of a dependency that works.
func OK() Status { return Status{State: StateOK} }

// Degraded returns the Status of a dependency that works less well than it should.
func Degraded(detail string) Status { return Status{State: StateDegraded, Detail: detail} }

// Down returns the Status of a dependency that does not work.
func Down(detail string) Status { return Status{State: StateDown, Detail: detail} }

// Check checks one dependency. It must be safe to call while the service runs and
// should return when ctx ends. Two runs of one check never overlap.
type Check func(ctx context.Context) Status

// Ping makes a Check from a function that returns an error when the dependency is
// not reachable. The error is not shown. reason turns it into a text that may be.
func Ping(ping func(ctx context.Context) error, reason func(error) string) Check {
	return func(ctx context.Context) Status {
		if err := ping(ctx); err != nil {
			return Down(reason(err))
		}
		return OK()
	}
}

// CheckPermissions makes a Check from a function that reports whether NATS has
// denied a permission.
func CheckPermissions(denied func() bool) Check {
	return func(context.Context) Status {
		if denied() {
			return Down("NATS denies a right; the log says which")
		}
		return OK()
	}
}

// Report is the body of the readiness probe.
type Report struct {
	State  State             `json:"status"`
	Checks map[string]Status `json:"checks"`
}

const (
	checkTimeout   = time.Second // a check that takes longer counts as failed
	reportLifetime = time.Second // probes within this time share one run of the checks
)

// Health holds the health checks of a service and whether it is ready. A new one is
// down ("starting") until Serving is called. Group calls it. All methods are safe
// for concurrent use.
type Health struct {
	mu       sync.Mutex // guards the fields below; never held while checks run
	checks   []*healthCheck
	phase    string // why the service is not ready, regardless of its checks; empty: serving
	included []includedHealth

	running chan struct{} // holds a token while a caller runs the checks
	report  map[string]Status
	expires time.Time
}

// includedHealth is the Health of another service in the same process.
type includedHealth struct {
	name   string
	health *Health
}

type healthCheck struct {
	name    string
	worst   State
	check   Check
	pending chan Status // result of a run that has not ended yet
}

// NewHealth returns a Health without checks, in the phase "starting".
func NewHealth() *Health {
	return &Health{phase: "starting", running: make(chan struct{}, 1)}
}

// Add registers a check under a public name. worst limits how far the check can
// lower the state of the service. It is also the state of a check that does not
// finish in time. Use StateDown if the service can't work without the dependency,
// StateDegraded if it can.
func (h *Health) Add(name string, worst State, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &healthCheck{name: name, worst: worst, check: check})
}

// Include adds the checks of another service in the same process, as "name.check".
// If a dependency of the other service is down, this service is at most degraded,
// because requests that don't need it still work. While the other service starts or
// stops, this service is down too.
func (h *Health) Include(name string, included *Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.included = append(h.included, includedHealth{name, included})
}

// Serving ends the start. From now on only the checks decide.
func (h *Health) Serving() { h.setPhase("") }

// Stopping marks the service as not ready, so that it gets no new work while it
// drains.
func (h *Health) Stopping() { h.setPhase("stopping") }

func (h *Health) setPhase(phase string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase = phase
}

// phaseEntry is the name of the entry that shows that a service starts or stops.
const phaseEntry = "service"

// Report runs all checks at once and returns their results. Results are reused for
// one second. Report takes at most one second.
func (h *Health) Report() Report {
	h.mu.Lock()
	others := h.included[:len(h.included):len(h.included)]
	h.mu.Unlock()
	reports := make([]map[string]Status, len(others))
	var asking sync.WaitGroup
	for i, o := range others {
		asking.Go(func() { reports[i] = o.health.ownStatuses() })
	}
	report := Report{State: StateOK, Checks: h.ownStatuses()}
	asking.Wait()
	for i, o := range others {
		for name, status := range reports[i] {
			if status.State == StateDown && name != phaseEntry {
				status.State = StateDegraded
			}
			report.Checks[o.name+"."+name] = status
		}
	}
	for _, status := range report.Checks {
		if status.State.rank() > report.State.rank() {
			report.State = status.State
		}
	}
	return report
}

// ownStatuses returns the check results and the phase, without included services.
func (h *Health) ownStatuses() map[string]Status {
	entries := maps.Clone(h.results())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase != "" {
		entries[phaseEntry] = Down(h.phase)
	}
	return entries
}

// results ignores the caller's context: a probe that disconnects must not leave a
// false "down" for the next ones.
func (h *Health) results() map[string]Status {
	h.running <- struct{}{}
	defer func() { <-h.running }()
	if time.Now().Before(h.expires) {
		return h.report
	}
	h.mu.Lock()
	checks := h.checks[:len(h.checks):len(h.checks)]
	h.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	for _, c := range checks {
		c.start(ctx)
	}
	results := make(map[string]Status, len(checks))
	for _, c := range checks {
		results[c.name] = c.await(ctx)
	}
	h.report, h.expires = results, time.Now().Add(reportLifetime)
	return results
}

// start does not start a second run while one hangs. A check that ignores its
// context therefore costs one goroutine in total, not one per second.
func (c *healthCheck) start(ctx context.Context) {
	if c.pending != nil {
		select {
		case <-c.pending: // a late result says nothing about the present state
		default:
			return
		}
	}
	answer := make(chan Status, 1)
	c.pending = answer
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- Status{State: c.worst, Detail: fmt.Sprintf("check panicked: %v", p)}
			}
		}()
		answer <- c.check(ctx)
	}()
}

func (c *healthCheck) await(ctx context.Context) Status {
	status := Status{State: c.worst, Detail: "no result within " + checkTimeout.String()}
	select {
	case status = <-c.pending:
		c.pending = nil
	case <-ctx.Done():
		select { // the checks awaited before may have used up the time, though this one is done
		case status = <-c.pending:
			c.pending = nil
		default:
		}
	}
	if status.State.rank() >= c.worst.rank() {
		status.State = c.worst
	}
	status.Detail = redact.OneLine(status.Detail, 200)
	return status
}

// Ready returns the HTTP status code and the JSON body of the readiness probe: 503
// if the service is down, else 200.
func (h *Health) Ready() (code int, body []byte) {
	report := h.Report()
	body, err := json.Marshal(report)
	if err != nil { // strings always marshal
		panic(err)
	}
	if report.State == StateDown {
		return http.StatusServiceUnavailable, body
	}
	return http.StatusOK, body
}

// Live returns the response of the liveness probe, always 200. It checks no
// dependency, because restarting the process would not repair one.
func (h *Health) Live() (code int, body []byte) {
	return http.StatusOK, []byte(`{"status":"ok"}`)
}

// ServeReady is Ready as an http.HandlerFunc.
func (h *Health) ServeReady(w http.ResponseWriter, _ *http.Request) {
	code, body := h.Ready()
	writeProbe(w, code, body)
}

// ServeLive is Live as an http.HandlerFunc.
func (h *Health) ServeLive(w http.ResponseWriter, _ *http.Request) {
	code, body := h.Live()
	writeProbe(w, code, body)
}

func writeProbe(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has disconnected, so the error has no receiver
}
