package natsapi

import (
	"context"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// microConcurrency is how many requests over NATS are worked on at a time.
const microConcurrency = 512

// answerHeaders is what an answer over NATS holds besides its body.
const answerHeaders = 4 << 10

// microDrain bounds the wait for requests that are being worked on.
const microDrain = 15 * time.Second

// microService answers requests over NATS: the bodies and answers of the HTTP
// routes, without HTTP.
type microService struct {
	js         *jetstream.Client
	acceptor   *accept.Acceptor
	messages   *messages.Service
	recipients request.Recipients
	counts     *metrics.Metrics
	log        *zap.Logger
}

// Config are what the micro service works with.
type Config struct {
	JS       *jetstream.Client
	Acceptor *accept.Acceptor
	Messages *messages.Service
	Rules    message.Rules
	Counts   *metrics.Metrics
	Log      *zap.Logger
}

// New returns a micro service that answers once Run works.
func New(p Config) *microService {
	return &microService{
		js: p.JS, acceptor: p.Acceptor, messages: p.Messages, recipients: request.NewRecipients(p.Rules),
		counts: p.Counts, log: p.Log,
	}
}

// verb does what a request asks for. It returns what is answered as JSON.
type verb func(data []byte, headers micro.Headers) (answer any, replayed bool, err error)

// Run answers until ctx ends, and finishes what it has begun. It works with
// NATS away too: the subscriptions come with the connection.
func (s *microService) Run(ctx context.Context) error {
	requests := rpc.NewConcurrent(s.js.Conn(), microConcurrency)
	registered, err := micro.AddService(s.js.Conn(), micro.Config{
		Name:        events.MessagesService,
		Version:     rpc.ServiceVersion(service.Version()),
		Description: "Stores messages and answers questions about them",
		Metadata:    s.js.Metadata(),
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", events.MessagesService, err)
	}
	for name, do := range map[string]verb{
		"create": s.create, "get": s.get, "list": s.list, "cancel": s.cancel, "retry": s.retry,
	} {
		if err := registered.AddEndpoint(name, requests.Handler(s.answer(do)), micro.WithEndpointSubject(s.js.Messages(name))); err != nil {
			return fmt.Errorf("register endpoint %s: %w", name, err)
		}
	}
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), microDrain)
	defer cancel()
	if err := registered.Stop(); err != nil && s.js.Conn().IsConnected() {
		s.log.Warn("requests over NATS may have been cut off", zap.Error(err))
	}
	return requests.Wait(drain)
}

func (s *microService) answer(do verb) func([]byte, micro.Headers) rpc.Answer {
	return func(data []byte, headers micro.Headers) rpc.Answer {
		body, replayed, err := s.guard(do, data, headers)
		if err != nil {
			return rpc.Answer{Problem: db.ProblemOf(err)}
		}
		reply := rpc.Answer{Body: message.EncodeJSON(body)}
		if replayed {
			reply.Headers = map[string]string{"Idempotent-Replayed": "true"}
		}
		return reply
	}
}

func (s *microService) guard(do verb, data []byte, headers micro.Headers) (body any, replayed bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic", zap.Any("panic", p), zap.Stack("stack"))
			err = message.NewProblem(500, message.ProblemInternal, "an unexpected error; its cause is in the service's log")
		}
	}()
	body, replayed, err = do(data, headers)
	err = message.WithSubject("the request", err)
	if err != nil && db.ProblemOf(err).Code == message.ProblemInternal {
		s.log.Error("request over NATS failed", zap.Error(err))
	}
	return body, replayed, err
}

func (s *microService) create(data []byte, headers micro.Headers) (answer any, replayed bool, err error) {
	done, err := s.acceptor.Create(context.Background(), accept.Draft{
		Body:  data,
		Scope: accept.NATSScope(s.js.Topology),
		Key:   accept.KeyHeader{Header: natsjs.MsgIDHeader, Values: headers.Values(natsjs.MsgIDHeader)},
		Trace: events.TraceOf(headers),
	})
	s.counts.Accepted("micro", done.Repeated, err)
	return done.Message, done.Repeated, err
}

func (s *microService) list(data []byte, _ micro.Headers) (answer any, replayed bool, err error) {
	q, err := request.ReadQuery(data)
	if err != nil {
		return nil, false, err
	}
	filter, err := request.ReadFilter(q, s.recipients)
	if err != nil {
		return nil, false, err
	}
	answer, err = s.messages.List(context.Background(), filter, int(s.js.Conn().MaxPayload())-answerHeaders)
	return answer, false, err
}

func (s *microService) get(data []byte, _ micro.Headers) (answer any, replayed bool, err error) {
	to, err := request.ReadTarget(data)
	if err == nil {
		err = to.Alone()
	}
	if err != nil {
		return nil, false, err
	}
	answer, err = s.messages.Get(context.Background(), to.Id)
	return answer, false, err
}

func (s *microService) cancel(data []byte, _ micro.Headers) (answer any, replayed bool, err error) {
	to, err := request.ReadTarget(data)
	if err == nil {
		err = to.Alone()
	}
	if err != nil {
		return nil, false, err
	}
	answer, err = s.messages.Cancel(context.Background(), to.Id)
	return answer, false, err
}

func (s *microService) retry(data []byte, _ micro.Headers) (answer any, replayed bool, err error) {
	to, err := request.ReadTarget(data)
	if err != nil {
		return nil, false, err
	}
	expiresAt, err := request.ReadExpiresAt(to.Rest, to.Mistakes, time.Now())
	if err != nil {
		return nil, false, err
	}
	answer, err = s.messages.Retry(context.Background(), to.Id, expiresAt)
	return answer, false, err
}
