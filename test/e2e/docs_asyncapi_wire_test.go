package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// maxChecked is how many messages of a channel are checked: a test with a
// hundred thousand is about something else, and listening costs.
const maxChecked = 1000

// wireCheck compares what goes over a NATS server with the description. What the system itself publishes must be as described;
// what others publish may be anything, but what is accepted must be too.
type wireCheck struct {
	t    testing.TB
	spec *asyncAPI
	nc   *nats.Conn

	mu       sync.Mutex
	pending  map[string]pendingRequest // by the subject of the answer
	problems []string
}

// pendingRequest is a request without a response yet.
type pendingRequest struct {
	channel *channel
	wrong   error // the request is not as described
	data    []byte
}

// sharedSpec is the description for all tests that don't ask what was seen.
var sharedSpec = sync.OnceValues(readAsyncAPI)

// publishedSubjects lists the subjects on which the system, or an intake, publishes.
// Requests are not among them: to the server, who listens to them is one who
// answers, and nobody would learn any more that there is none.
func (a *asyncAPI) publishedSubjects() []string {
	var subjects []string
	for _, c := range a.channels {
		if c.address != "" && c.reply == nil {
			kind, _, more := strings.Cut(c.address, ".{")
			if more {
				kind += ".>"
			}
			subjects = append(subjects, kind)
		}
	}
	return subjects
}

// checkWire listens to subjects until the test's end, and fails the test then if
// something was not as described. NATS may stop and start meanwhile.
func checkWire(t testing.TB, js *jetstream.Client, spec *asyncAPI, subjects ...string) *wireCheck {
	t.Helper()
	x := &wireCheck{t: t, spec: spec, nc: js.Conn(), pending: map[string]pendingRequest{}}
	for _, subject := range subjects {
		subscription, err := x.nc.Subscribe(subject, x.receive)
		require.NoError(t, err)
		require.NoError(t, subscription.SetPendingLimits(-1, -1))
		if subject != ">" {
			require.NoError(t, subscription.AutoUnsubscribe(maxChecked))
		}
	}
	require.NoError(t, x.nc.Flush())
	t.Cleanup(x.finish)
	return x
}

// ignore stops listening, for a test that itself publishes what must not be.
func (x *wireCheck) ignore() { x.nc.Close() }

// finish takes what is still under way.
func (x *wireCheck) finish() {
	if x.nc.IsClosed() {
		return
	}
	closed := make(chan struct{})
	x.nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	if x.nc.Drain() != nil {
		x.nc.Close()
	}
	<-closed
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, problem := range x.problems {
		if i == 5 {
			x.t.Errorf("and %d more", len(x.problems)-i)
			break
		}
		x.t.Errorf("not as docs/asyncapi.yaml has it: %s", problem)
	}
}

func (x *wireCheck) receive(msg *nats.Msg) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if strings.HasPrefix(msg.Subject, "$") || strings.HasPrefix(msg.Subject, "_") {
		if question, ok := x.pending[msg.Subject]; ok {
			delete(x.pending, msg.Subject)
			x.checkResponse(question, msg)
		}
		return
	}
	c := x.spec.channelOf(msg.Subject)
	if c == nil {
		x.problem(msg, errors.New("there is no such subject"))
		return
	}
	if strings.HasPrefix(msg.Reply, "$JS.ACK.") && c.name != "deliver" {
		return // on its way to a consumer: it was seen when it was published, unless a schedule did it
	}
	err := x.check(c, msg)
	switch {
	case c.reply != nil && msg.Reply != "":
		x.pending[msg.Reply] = pendingRequest{c, err, msg.Data}
	case err != nil && !c.incoming:
		x.problem(msg, err)
	}
}

// exchange checks a request that the test made itself, and its answer.
func (x *wireCheck) exchange(request, answer *nats.Msg) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.spec.channelOf(request.Subject)
	x.checkResponse(pendingRequest{c, x.check(c, request), request.Data}, answer)
}

func (x *wireCheck) checkResponse(q pendingRequest, msg *nats.Msg) {
	err := x.spec.check(q.channel.reply, msg.Header, msg.Data)
	if err != nil {
		x.problem(msg, fmt.Errorf("the answer to %s %s: %w", q.channel.address, q.data, err))
	}
	if q.wrong != nil && msg.Header.Get(micro.ErrorCodeHeader) == "" {
		x.problem(msg, fmt.Errorf("the request on %s was accepted: %s: %w", q.channel.address, q.data, q.wrong))
	}
}

func (x *wireCheck) check(c *channel, msg *nats.Msg) error {
	if err := x.spec.check(c, msg.Header, msg.Data); err != nil {
		return err
	}
	if c.stream == "DISPATCH_EVENTS" {
		return checkCloudEvent(msg)
	}
	return nil
}

// checkCloudEvent reads an event as a consumer with the CloudEvents SDK does.
func checkCloudEvent(msg *nats.Msg) error {
	event := cloudevents.NewEvent()
	if err := json.Unmarshal(msg.Data, &event); err != nil {
		return err
	}
	if err := event.Validate(); err != nil {
		return err
	}
	kind := strings.Split(msg.Subject, ".")[2]
	sequence, _ := event.Extensions()["sequence"].(string)
	trace, _ := event.Extensions()["traceparent"].(string)
	switch {
	case event.SpecVersion() != cloudevents.VersionV1:
		return fmt.Errorf("version %s", event.SpecVersion())
	case event.ID() != msg.Header.Get(nats.MsgIdHdr):
		return fmt.Errorf("event %s with the Nats-Msg-Id %s", event.ID(), msg.Header.Get(nats.MsgIdHdr))
	case event.Type() != "dispatch.message."+kind:
		return fmt.Errorf("type %s on %s", event.Type(), msg.Subject)
	case len(sequence) < 10:
		return fmt.Errorf("sequence %q does not order as text", sequence)
	case trace != msg.Header.Get(events.HeaderTraceparent):
		return fmt.Errorf("traceparent %q, in the header %q", trace, msg.Header.Get(events.HeaderTraceparent))
	}
	return nil
}

func (x *wireCheck) problem(msg *nats.Msg, err error) {
	x.problems = append(x.problems, fmt.Sprintf("%s %v %.1000s: %v", msg.Subject, msg.Header, msg.Data, err))
}
