// Package jetstream reaches NATS JetStream. It connects, publishes, moves to
// another server when the current one doesn't reach the streams, and knows how far
// the recorder is. The packages below it work on streams (streams), on the delivery
// queue (deliveries), and with requests and responses (rpc). pkg/events defines
// what is published, and where.
package jetstream

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

const (
	// maxPendingAcks bounds the publishes of one connection that wait for their
	// acknowledgement.
	maxPendingAcks = 8192
	// closeTimeout bounds Close.
	closeTimeout = 3 * time.Second
)

// Client is a connection to NATS together with the names and limits of one
// installation: everything that code needs to work with its streams. It is safe
// for concurrent use.
type Client struct {
	natsjs.JetStream
	events.Topology

	denials *denials // nil unless ConnectService made the client
}

// Connect returns a client that survives the absence of NATS. It returns at once,
// connected or not, and keeps trying until it is closed. name is shown by `nats
// server report connections`. An error means that the access data can't be used.
func Connect(access Access, topology events.Topology, name string, options ...nats.Option) (*Client, error) {
	credentials, err := access.options()
	if err != nil {
		return nil, err
	}
	options = append(append([]nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // no hidden queue: a publish without a connection fails at once
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DrainTimeout(5 * time.Second),
		nats.IgnoreAuthErrorAbort(), // otherwise two refusals while a password changes would close the connection
	}, credentials...), options...)
	nc, err := nats.Connect(access.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := access.open(nc,
		natsjs.WithPublishAsyncMaxPending(maxPendingAcks),
		natsjs.WithPublishAsyncTimeout(RequestTimeout),
	)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return NewClient(js, topology), nil
}

// ConnectService is Connect for a service. It also logs what the server doesn't
// permit, since NATS reports a refused subscription to nobody else. Denied returns
// whether that has happened.
func ConnectService(access Access, topology events.Topology, name string, log *zap.Logger) (*Client, error) {
	d := &denials{log: log}
	client, err := Connect(access, topology, name, nats.ErrorHandler(d.record))
	if err != nil {
		return nil, err
	}
	client.denials = d
	return client, nil
}

// NewClient returns a client for a connection that the caller made.
func NewClient(js natsjs.JetStream, topology events.Topology) *Client {
	return &Client{JetStream: js, Topology: topology}
}

// Denied reports whether the server has denied the service anything since the
// connection was made. A new connection resets it.
func (c *Client) Denied() bool {
	return c.denials != nil && c.denials.any(c.Conn())
}

// Close closes the connection and waits at most 3 s. Closing flushes what is
// buffered, which never ends if the server has stopped reading; the rest then ends
// with the process.
func (c *Client) Close() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.Conn().Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
}
