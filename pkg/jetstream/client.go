// Package jetstream reaches NATS JetStream: it connects, publishes, and moves to
// another server when the one at hand does not reach the streams. The packages
// below it work on streams, on the delivery queue, and with requests. What is
// published, and where, is defined in pkg/events.
package jetstream

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

// maxPendingAcks bounds the publishes of one connection that wait for their
// acknowledgement.
const maxPendingAcks = 8192

// Client is a connection to NATS together with the names and limits of one
// installation: everything that code needs to reach its streams. It is safe for
// concurrent use.
type Client struct {
	natsjs.JetStream
	events.Topology
}

// Connect returns a client that survives the absence of NATS: it is returned at
// once, connected or not, and keeps trying forever. name is what `nats server
// report connections` shows.
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
		nats.IgnoreAuthErrorAbort(), // else two refusals of a password that is being changed would be its end
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

// NewClient returns a client over a connection that the caller made.
func NewClient(js natsjs.JetStream, topology events.Topology) *Client {
	return &Client{JetStream: js, Topology: topology}
}

// closeWait is how long Close waits.
const closeWait = 3 * time.Second

// Close ends a connection. It flushes what is buffered first, which a server
// that stands still does not take; what is left then ends with the process.
func (c *Client) Close() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.Conn().Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeWait):
	}
}
