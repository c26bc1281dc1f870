package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Request sends a request to a micro service and returns the body of its answer.
// An error response is a *message.Problem. It returns ErrUnavailable when nobody
// listens, or nobody answers before ctx ends.
func Request(ctx context.Context, nc *nats.Conn, subject string, body []byte) ([]byte, error) {
	answer, err := nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w: %w", subject, jetstream.ErrUnavailable, err)
	}
	if code := answer.Header.Get(micro.ErrorCodeHeader); code != "" {
		status, _ := strconv.Atoi(code) // of HTTP; anything else becomes a 500
		return nil, message.ReadProblem(status, answer.Header.Get(micro.ErrorHeader), answer.Data)
	}
	return answer.Data, nil
}

// Response is what a micro endpoint answers: a body, or a problem.
type Response struct {
	Body    []byte
	Headers map[string]string
	Problem *message.Problem // goes instead of Body
}

// Responder runs the requests of micro endpoints side by side, up to a
// limit: micro itself calls an endpoint's handler for one after the other.
type Responder struct {
	nc    *nats.Conn
	slots chan struct{}
}

// NewResponder returns a Concurrent that answers over a connection.
func NewResponder(nc *nats.Conn, limit int) *Responder {
	return &Responder{nc: nc, slots: make(chan struct{}, limit)}
}

// Handler makes an endpoint's handler of a function, which must be safe for
// concurrent use. At the limit requests wait in their subscription.
func (c *Responder) Handler(answer func(data []byte, headers micro.Headers) Response) micro.Handler {
	return micro.HandlerFunc(func(request micro.Request) {
		c.slots <- struct{}{}
		go func() {
			defer func() { <-c.slots }()
			c.respond(request.Reply(), answer(request.Data(), request.Headers()))
		}()
	})
}

// respond does not go through micro's Request: that one may be used only
// until its handler has returned.
func (c *Responder) respond(reply string, answer Response) {
	if reply == "" {
		return
	}
	msg := &nats.Msg{Subject: reply, Header: nats.Header{}, Data: answer.Body}
	for name, value := range answer.Headers {
		msg.Header[name] = []string{value}
	}
	if answer.Problem != nil {
		setProblem(msg, answer.Problem)
	}
	if err := c.nc.PublishMsg(msg); errors.Is(err, nats.ErrMaxPayload) {
		_ = c.nc.PublishMsg(tooLargeAnswer(reply, len(msg.Data), c.nc.MaxPayload())) // else the asker would wait for nothing
	} // any other error: nobody is left to tell, the asker's request times out
}

// setProblem makes a problem the response of a micro service.
func setProblem(msg *nats.Msg, p *message.Problem) {
	msg.Header[micro.ErrorCodeHeader] = []string{strconv.Itoa(p.Status)}
	msg.Header[micro.ErrorHeader] = []string{strings.Join(strings.Fields(p.Error()), " ")}
	msg.Data = p.JSON()
}

// tooLargeAnswer takes the place of an answer that NATS does not take.
func tooLargeAnswer(reply string, size int, limit int64) *nats.Msg {
	msg := &nats.Msg{Subject: reply, Header: nats.Header{}}
	setProblem(msg, message.NewProblem(http.StatusRequestEntityTooLarge, message.ProblemTooLarge,
		fmt.Sprintf("it was done, but the answer has %d bytes and NATS takes %d at most (max_payload): ask for less at a time, or over HTTP", size, limit)))
	return msg
}

// Wait returns when no request is being worked on, or ctx has ended. Stop the
// service first; the Concurrent takes nothing more afterwards.
func (c *Responder) Wait(ctx context.Context) error {
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("finish requests: %w", ctx.Err())
		}
	}
	return nil
}

// Unanswered reports whether err says that no service listens on a subject.
func Unanswered(err error) bool { return errors.Is(err, nats.ErrNoResponders) }
