package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// maxPendingAcks bounds the publishes of one connection that wait for their
// acknowledgement.
const maxPendingAcks = 8192

// Connect returns a connection that survives the absence of NATS: it is
// returned at once, connected or not, and goes on trying for ever. name is
// what `nats server report connections` shows.
func Connect(url, name string, options ...nats.Option) (jetstream.JetStream, error) {
	return Open(Access{URL: url}, name, options...)
}

// Open is Connect with credentials, certificates and a domain.
func Open(access Access, name string, options ...nats.Option) (jetstream.JetStream, error) {
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
		jetstream.WithPublishAsyncMaxPending(maxPendingAcks),
		jetstream.WithPublishAsyncTimeout(publishWait),
	)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return js, nil
}

// closeWait is how long Close waits.
const closeWait = 3 * time.Second

// Close ends a connection. It flushes what is buffered first, which a server
// that stands still does not take; what is left then ends with the process.
func Close(js jetstream.JetStream) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		js.Conn().Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeWait):
	}
}

// Check reports an error unless NATS is connected and new enough, and the
// streams exist, with the consumers that the pipeline can't do without. The
// error is ErrNotProvisioned when they don't, ErrTooOld for an old server,
// ErrMaxPayload for one that takes too little, and ErrNotAsRequested for a stream
// with which the pipeline can't work.
func (t Topology) Check(ctx context.Context, js jetstream.JetStream) error {
	if err := CheckServer(js.Conn()); err != nil {
		return fmt.Errorf("check streams: %w", err)
	}
	for _, stream := range t.Streams() {
		found, err := js.Stream(ctx, stream.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", stream.Name, ErrNotProvisioned)
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", stream.Name, err)
		}
		if err := checkStream(stream, found.CachedInfo().Config, vital); err != nil {
			return err
		}
	}
	for _, consumer := range t.Consumers([]string{message.DefaultDestination}) {
		if consumer.Config.Durable == CacheConsumer {
			continue // it may just be being made anew
		}
		_, err := js.Consumer(ctx, consumer.Stream, consumer.Config.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("consumer %s of %s: %w", consumer.Config.Durable, consumer.Stream, ErrNotProvisioned)
		}
		if err != nil {
			return fmt.Errorf("look up consumer %s of %s: %w", consumer.Config.Durable, consumer.Stream, err)
		}
	}
	return nil
}

// CheckServer returns ErrUnavailable without a connection, ErrTooOld if the
// server at its other end is, and ErrMaxPayload if that takes too little.
func CheckServer(nc *nats.Conn) error {
	if err := Connected(nc); err != nil {
		return err
	}
	if err := CheckVersion(nc.ConnectedServerVersion()); err != nil {
		return err
	}
	return checkMaxPayload(nc)
}

// checkStream compares a stream, and the version of the server that answered
// for it, with what is needed.
func checkStream(requested, actual jetstream.StreamConfig, only []string) error {
	if err := CheckVersion(actual.Metadata[serverVersion]); err != nil {
		return fmt.Errorf("stream %s: %w", requested.Name, err)
	}
	if err := conforms(differences(requested, actual, only)); err != nil {
		return fmt.Errorf("stream %s: %w", requested.Name, err)
	}
	return nil
}

// noRoom is the server's code for a stream whose limit it can't hold.
const noRoom = 10047

// roomFor says what a server lacks that has no room for a stream.
func (t Topology) roomFor(stream jetstream.StreamConfig, err error) string {
	var refused *jetstream.APIError
	if !errors.As(err, &refused) || refused.ErrorCode != noRoom {
		return ""
	}
	var all int64
	for _, s := range t.Streams() {
		all += s.MaxBytes
	}
	return fmt.Sprintf(": it reserves %d MiB, all streams %d MiB together, on each of %d servers; make streams smaller (EVENTS_MAX_BYTES and the like), or raise max_file_store of the server, or max_store of the account",
		stream.MaxBytes>>20, all>>20, t.replicas)
}

// ErrNotProvisioned means that a stream or a consumer is missing: `dispatch
// provision` makes it.
var ErrNotProvisioned = errors.New("not provisioned")

// Provision makes every stream and consumer, or brings those that exist up
// to date. It is safe to run at any time, also while services work. It returns
// ErrTooOld for an old server, ErrNotAsRequested if a server reports success
// without doing all that was requested, and ErrHoldsMore, when all else is done,
// if a stream could not be made as small as it should be.
func (t Topology) Provision(ctx context.Context, js jetstream.JetStream, destinations []string) error {
	if err := CheckServer(js.Conn()); err != nil {
		return fmt.Errorf("provision streams: %w", err)
	}
	plan, err := t.plan(ctx, js)
	if err != nil {
		return fmt.Errorf("provision streams: %w", err)
	}
	var refusals []error
	for _, p := range plan {
		made, err := js.CreateOrUpdateStream(ctx, p.config)
		if err != nil {
			return fmt.Errorf("provision stream %s: %w%s", p.config.Name, err, t.roomFor(p.config, err))
		}
		if err := checkStream(p.config, made.CachedInfo().Config, nil); err != nil {
			return err
		}
		refusals = append(refusals, p.refusal)
		failpoint.At(failpoint.ProvisionStream)
	}
	for _, consumer := range t.Consumers(destinations) {
		// The first answer after a server's start tells of the consumer as it was
		// before: so the server is asked.
		_, err := js.CreateOrUpdateConsumer(ctx, consumer.Stream, consumer.Config)
		var made jetstream.Consumer
		if err == nil {
			made, err = js.Consumer(ctx, consumer.Stream, consumer.Config.Durable)
		}
		if err != nil {
			return fmt.Errorf("provision consumer %s of %s: %w", consumer.Config.Durable, consumer.Stream, err)
		}
		if err := conforms(ConsumerDifferences(consumer.Config, made.CachedInfo().Config)); err != nil {
			return fmt.Errorf("consumer %s of %s: %w", consumer.Config.Durable, consumer.Stream, err)
		}
		failpoint.At(failpoint.ProvisionConsumer)
	}
	return errors.Join(refusals...)
}
