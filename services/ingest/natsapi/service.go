// Package natsapi serves requests over NATS: the micro service
// dispatch-messages. Bodies and responses are those of the HTTP API.
package natsapi

import (
	"context"
	"fmt"
	"net/http"
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

const (
	concurrency     = 512 // requests at a time
	responseHeaders = 4 << 10
	drainTimeout    = 15 * time.Second
	headerReplayed  = "Idempotent-Replayed"
)

// Config is what a Service works with.
type Config struct {
	JS       *jetstream.Client
	Acceptor *accept.Acceptor
	Messages *messages.Service
	Rules    message.Rules
	Metrics  *metrics.Metrics
	Log      *zap.Logger
}

// Service is the micro service.
type Service struct {
	js         *jetstream.Client
	acceptor   *accept.Acceptor
	messages   *messages.Service
	recipients request.Recipients
	metrics    *metrics.Metrics
	log        *zap.Logger
	now        func() time.Time
}

// New returns a service that serves while Run runs.
func New(cfg Config) *Service {
	return &Service{
		js: cfg.JS, acceptor: cfg.Acceptor, messages: cfg.Messages,
		recipients: request.NewRecipients(cfg.Rules), metrics: cfg.Metrics, log: cfg.Log, now: time.Now,
	}
}

// endpoint serves one kind of request. It returns the response, which is encoded
// as JSON, or an error that db.ProblemOf describes.
type endpoint func(data []byte, headers micro.Headers) (response any, replayed bool, err error)

// Run serves until ctx ends, and finishes the requests that it has received. If
// NATS is down, it subscribes once it is connected.
func (s *Service) Run(ctx context.Context) error {
	requests := rpc.NewResponder(s.js.Conn(), concurrency)
	registered, err := micro.AddService(s.js.Conn(), micro.Config{
		Name:        events.MessagesService,
		Version:     rpc.ServiceVersion(service.Version()),
		Description: "Stores messages and answers questions about them",
		Metadata:    s.js.Metadata(),
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", events.MessagesService, err)
	}
	for name, serve := range map[string]endpoint{
		"create": s.create, "get": s.get, "list": s.list, "cancel": s.cancel, "retry": s.redrive,
	} {
		if err := registered.AddEndpoint(name, requests.Handler(s.handler(serve)), micro.WithEndpointSubject(s.js.MessagesSubject(name))); err != nil {
			return fmt.Errorf("register endpoint %s: %w", name, err)
		}
	}
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := registered.Stop(); err != nil && s.js.Conn().IsConnected() {
		s.log.Warn("requests over NATS may have been cut off", zap.Error(err))
	}
	return requests.Wait(drain)
}

func (s *Service) handler(serve endpoint) func([]byte, micro.Headers) rpc.Response {
	return func(data []byte, headers micro.Headers) rpc.Response {
		body, replayed, err := s.serve(serve, data, headers)
		if err != nil {
			return rpc.Response{Problem: db.ProblemOf(err)}
		}
		response := rpc.Response{Body: message.EncodeJSON(body)}
		if replayed {
			response.Headers = map[string]string{headerReplayed: "true"}
		}
		return response
	}
}

// serve calls an endpoint. It turns a panic into an error, and logs unexpected
// errors.
func (s *Service) serve(serve endpoint, data []byte, headers micro.Headers) (body any, replayed bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic", zap.Any("panic", p), zap.Stack("stack"))
			err = message.NewProblem(http.StatusInternalServerError, message.ProblemInternal, "an unexpected error; its cause is in the service's log")
		}
	}()
	body, replayed, err = serve(data, headers)
	err = message.WithSubject("the request", err)
	if err != nil && db.ProblemOf(err).Code == message.ProblemInternal {
		s.log.Error("request over NATS failed", zap.Error(err))
	}
	return body, replayed, err
}

func (s *Service) create(data []byte, headers micro.Headers) (response any, replayed bool, err error) {
	accepted, err := s.acceptor.Create(context.Background(), accept.Draft{
		Body:  data,
		Scope: accept.NATSScope(s.js.Topology),
		Key:   accept.KeyHeader{Name: natsjs.MsgIDHeader, Values: headers.Values(natsjs.MsgIDHeader)},
		Trace: events.TraceOf(headers),
	})
	s.metrics.Message(metrics.SourceMicro, accepted.Repeated, err)
	return accepted.Message, accepted.Repeated, err
}

func (s *Service) list(data []byte, _ micro.Headers) (response any, replayed bool, err error) {
	query, err := request.ParseQuery(data)
	if err != nil {
		return nil, false, err
	}
	filter, err := request.ParseFilter(query, s.recipients)
	if err != nil {
		return nil, false, err
	}
	response, err = s.messages.List(context.Background(), filter, int(s.js.Conn().MaxPayload())-responseHeaders)
	return response, false, err
}

func (s *Service) get(data []byte, _ micro.Headers) (response any, replayed bool, err error) {
	id, err := request.ParseIDBody(data)
	if err != nil {
		return nil, false, err
	}
	response, err = s.messages.Get(context.Background(), id)
	return response, false, err
}

func (s *Service) cancel(data []byte, _ micro.Headers) (response any, replayed bool, err error) {
	id, err := request.ParseIDBody(data)
	if err != nil {
		return nil, false, err
	}
	response, err = s.messages.Cancel(context.Background(), id)
	return response, false, err
}

func (s *Service) redrive(data []byte, _ micro.Headers) (response any, replayed bool, err error) {
	id, expiresAt, err := request.ParseRedriveBody(data, s.now())
	if err != nil {
		return nil, false, err
	}
	response, err = s.messages.Redrive(context.Background(), id, expiresAt)
	return response, false, err
}
