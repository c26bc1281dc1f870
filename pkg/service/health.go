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

// State is how a dependency, or the whole service, is.
type State string

// The states, from best to worst. A service that is degraded still does all
// that it promises; one that is down should get no work.
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
	default: // also what no check should say
		return 2
	}
}

// Status is the answer of a check. Detail is a few words for people. It is
// shown to whoever can reach the port, so it is no place for a driver's error,
// which names hosts and users.
type Status struct {
	State  State  `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// OK is the Status of what works.
func OK() Status { return Status{State: StateOK} }

// Degraded is the Status of what works less well than it should.
func Degraded(detail string) Status { return Status{State: StateDegraded, Detail: detail} }

// Down is the Status of what does not work.
func Down(detail string) Status { return Status{State: StateDown, Detail: detail} }

// Check looks at one dependency. It must be safe for concurrent use with the
// rest of the service and should end with ctx; it is never run twice at a time.
type Check func(ctx context.Context) Status

// Ping makes a Check from a function that returns an error when the dependency
// is away. The error itself is not shown: reason says what may be.
func Ping(ping func(ctx context.Context) error, reason func(error) string) Check {
	return func(ctx context.Context) Status {
		if err := ping(ctx); err != nil {
			return Down(reason(err))
		}
		return OK()
	}
}

// CheckPermissions makes a Check from a function that says whether NATS has
// denied something.
func CheckPermissions(denied func() bool) Check {
	return func(context.Context) Status {
		if denied() {
			return Down("NATS denies a right; the log says which")
		}
		return OK()
	}
}

// Report is what the readiness probe answers.
type Report struct {
	State  State             `json:"status"`
	Checks map[string]Status `json:"checks"`
}

const (
	checkTimeout   = time.Second // a check without an answer by then counts as failed
	reportLifetime = time.Second // however often probes come, checks run at most this often
)

// Health knows the dependencies of a service and whether it is ready. A new one
// is down ("starting") until Serving is called; Group does that. All methods
// are safe for concurrent use.
type Health struct {
	mu     sync.Mutex // guards the fields below; never held while checks run
	checks []*healthCheck
	phase  string // why the service is not ready whatever its checks say; empty: serving
	others []other

	running chan struct{} // holds a token while a caller runs the checks
	report  map[string]Status
	expires time.Time
}

// other is the Health of another service of the process.
type other struct {
	name   string
	health *Health
}

type healthCheck struct {
	name    string
	worst   State
	check   Check
	pending chan Status // the answer of a run that has not ended yet
}

// NewHealth makes a Health without checks that is starting.
func NewHealth() *Health {
	return &Health{phase: "starting", running: make(chan struct{}, 1)}
}

// Add registers a check under a name that is shown. worst is the most that the
// check can do to the service, and what it counts as when it gives no answer:
// StateDown for what the service can't work without, StateDegraded for what it
// can.
func (h *Health) Add(name string, worst State, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &healthCheck{name: name, worst: worst, check: check})
}

// Include shows the entries of another service of the same process beside
// one's own, as "name.entry". A dependency of the other that is down makes this
// one degraded and no worse: what does not need it goes on. While the other
// starts or stops, this one is down too.
func (h *Health) Include(name string, included *Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.others = append(h.others, other{name, included})
}

// Serving ends the start: from now on the checks alone decide.
func (h *Health) Serving() { h.setPhase("") }

// Stopping makes the service not ready, so that it gets no new work while it
// drains.
func (h *Health) Stopping() { h.setPhase("stopping") }

func (h *Health) setPhase(phase string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase = phase
}

// phaseEntry is the name of the entry that is there while a service starts or
// stops.
const phaseEntry = "service"

// Report runs the checks, all at once, or returns what they said within the
// last second. It takes a second at most.
func (h *Health) Report() Report {
	h.mu.Lock()
	others := h.others[:len(h.others):len(h.others)]
	h.mu.Unlock()
	reports := make([]map[string]Status, len(others))
	var asking sync.WaitGroup
	for i, o := range others {
		asking.Go(func() { reports[i] = o.health.own() })
	}
	report := Report{State: StateOK, Checks: h.own()}
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

// own is what the checks say, and the phase, without what is included.
func (h *Health) own() map[string]Status {
	entries := maps.Clone(h.results())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase != "" {
		entries[phaseEntry] = Down(h.phase)
	}
	return entries
}

// results does not depend on the caller's context: a probe that hangs up must
// not leave a false "down" to the ones after it.
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

// start leaves a run that hangs alone, so that a check that ignores its context
// costs one goroutine, not one a second.
func (c *healthCheck) start(ctx context.Context) {
	if c.pending != nil {
		select {
		case <-c.pending: // an answer that came too late says nothing about now
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
	status := Status{State: c.worst, Detail: "no answer within " + checkTimeout.String()}
	select {
	case status = <-c.pending:
		c.pending = nil
	case <-ctx.Done():
		select { // the ones before it may have used up the time that it did not need
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

// Ready is the readiness probe's answer, an HTTP status code and a JSON body:
// 503 if anything is down, else 200.
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

// Live is the liveness probe's answer: 200 for as long as the process can give
// one. It looks at no dependency, because a restart would bring none back.
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
	_, _ = w.Write(body) // the probe has hung up: nobody is left to tell
}
