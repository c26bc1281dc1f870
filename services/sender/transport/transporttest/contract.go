// Package transporttest proves the contract of transport.Transport. The tests of
// every implementation run its suite.
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// Behaviour is what a receiver does with a request that it has read.
type Behaviour int

// What a receiver may do.
const (
	Accepts  Behaviour = iota // responds with success and the body Accepted
	Rejects                   // responds with an error status and the body Rejected
	HangsUp                   // closes the connection without a response
	IsSilent                  // neither responds nor closes
	Floods                    // responds with success and a body without end
	Stalls                    // responds with success and the body Accepted, but does not end it
)

// The bodies of the responses.
const (
	Accepted = "accepted" // of a success
	Rejected = "rejected" // of a rejection
)

// Secret is in the URL or the header of every request that a Harness makes.
const Secret = "hunter2"

// Harness is an implementation with a receiver for it. Both are of one test
// alone.
type Harness interface {
	Transport() transport.Transport
	// Request returns a request to the receiver that carries the body.
	Request(body []byte) transport.Request
	// Set says what the receiver does from now on.
	Set(b Behaviour)
	// Bodies returns the bodies of the requests that the receiver has read.
	Bodies() []string
	// Arrived has a value for each of these requests.
	Arrived() <-chan struct{}
	// DropIdle closes the connections that carry no request, on the receiver's
	// side. It returns false if the transport can't know of that before it sends:
	// such an attempt may fail, but still leaves once.
	DropIdle() bool
	// Stop has the receiver refuse connections.
	Stop()
}

// timeout is long enough for a request that succeeds.
const timeout = 30 * time.Second

// Run runs the suite. newHarness makes a harness whose receiver accepts
// everything.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Harness){
		"a response is returned whatever its status":        responses,
		"a request leaves once":                             once,
		"a dropped idle connection costs no attempt":        dropped,
		"nothing is sent to a receiver that is not there":   absent,
		"no response in time is an error":                   silent,
		"the end of the context ends the attempt":           cancelled,
		"a body is cut, and one without end is no error":    endless,
		"many attempts at once keep their responses apart":  concurrent,
		"connections that are closed are opened again":      closed,
		"neither response nor error repeats what is secret": secrets,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newHarness(t))
		})
	}
}

func send(ctx context.Context, h Harness, body string) (transport.Response, *transport.Error) {
	return sendWithin(ctx, h, body, timeout)
}

func sendWithin(ctx context.Context, h Harness, body string, limit time.Duration) (transport.Response, *transport.Error) {
	request := h.Request([]byte(body))
	request.Timeout = limit
	response, err := h.Transport().Send(ctx, request)
	var why *transport.Error
	if err != nil && !errors.As(err, &why) {
		why = &transport.Error{Text: "not a transport.Error", Err: err, Local: true}
	}
	return response, why
}

func responses(t *testing.T, h Harness) {
	response, err := send(t.Context(), h, "a")
	require.Nil(t, err)
	require.Equal(t, Accepted, string(response.Body))
	h.Set(Rejects)
	response, err = send(t.Context(), h, "b")
	require.Nil(t, err)
	require.NotZero(t, response.Status)
	require.Equal(t, Rejected, string(response.Body))
	require.Equal(t, []string{"a", "b"}, h.Bodies())
}

func once(t *testing.T, h Harness) {
	for n := range 3 { // on a new connection, and on one that was used before
		h.Set(HangsUp)
		_, err := send(t.Context(), h, strconv.Itoa(n))
		require.NotNil(t, err)
		require.False(t, err.NotSent)
		require.False(t, err.Local)
		require.NotEmpty(t, err.Text)
		require.Len(t, h.Bodies(), 2*n+1)
		h.Set(Accepts)
		_, err = send(t.Context(), h, "in between")
		require.Nil(t, err)
	}
}

func dropped(t *testing.T, h Harness) {
	for n := range 5 {
		_, err := send(t.Context(), h, strconv.Itoa(n))
		require.Nil(t, err)
		if !h.DropIdle() {
			return
		}
	}
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, h.Bodies())
}

func absent(t *testing.T, h Harness) {
	h.Stop()
	_, err := send(t.Context(), h, "a")
	require.NotNil(t, err)
	require.True(t, err.NotSent)
	require.False(t, err.Local, "it is not this machine's fault")
	require.Empty(t, h.Bodies())
}

func silent(t *testing.T, h Harness) {
	h.Set(IsSilent)
	began := time.Now()
	_, err := sendWithin(t.Context(), h, "a", 100*time.Millisecond)
	require.NotNil(t, err)
	require.Contains(t, err.Text, "timeout")
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	require.False(t, err.NotSent)
}

func cancelled(t *testing.T, h Harness) {
	h.Set(IsSilent)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-h.Arrived(); cancel() }()
	_, err := sendWithin(ctx, h, "a", time.Hour)
	require.NotNil(t, err)
	require.False(t, err.NotSent)
	require.ErrorIs(t, err, context.Canceled)
}

func endless(t *testing.T, h Harness) {
	h.Set(Floods)
	response, err := send(t.Context(), h, "a")
	require.Nil(t, err)
	require.Len(t, response.Body, transport.MaxBody)
	h.Set(Stalls)
	response, err = send(t.Context(), h, "b")
	require.Nil(t, err)
	require.Equal(t, Accepted, string(response.Body))
}

func concurrent(t *testing.T, h Harness) {
	const senders, each = 16, 8
	var flight sync.WaitGroup
	failures := make(chan string, senders*each)
	for n := range senders {
		flight.Go(func() {
			for m := range each {
				if _, err := send(t.Context(), h, strconv.Itoa(n*each+m)); err != nil {
					failures <- err.Text
				}
			}
		})
	}
	flight.Wait()
	require.Empty(t, failures)
	seen := map[string]int{}
	for _, body := range h.Bodies() {
		seen[body]++
	}
	require.Len(t, seen, senders*each)
	for body, times := range seen {
		require.Equal(t, 1, times, body)
	}
}

func closed(t *testing.T, h Harness) {
	large := bytes.Repeat([]byte("1"), 1<<20)
	for range 2 {
		_, err := send(t.Context(), h, "a")
		require.Nil(t, err)
		_, err = send(t.Context(), h, string(large))
		require.Nil(t, err)
		h.Transport().Close()
	}
	require.Len(t, h.Bodies(), 4)
}

func secrets(t *testing.T, h Harness) {
	for _, b := range []Behaviour{HangsUp, Rejects, IsSilent} {
		h.Set(b)
		response, err := sendWithin(t.Context(), h, "a", 200*time.Millisecond)
		if err != nil {
			require.NotContains(t, err.Text, Secret)
		}
		require.NotContains(t, string(response.Body), Secret)
		for name, values := range response.Header {
			require.NotContains(t, name+strings.Join(values, ""), Secret)
		}
	}
	h.Stop()
	_, err := send(t.Context(), h, "a")
	require.NotNil(t, err)
	require.NotContains(t, err.Error(), Secret)
}
