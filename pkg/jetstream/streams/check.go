package streams

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Check reports an error unless NATS is connected and new enough, and the
// streams exist, with the consumers that the pipeline can't do without. The
// error is ErrNotProvisioned when they don't, ErrTooOld for an old server,
// ErrMaxPayload for one that takes too little, and ErrNotAsRequested for a stream
// with which the pipeline can't work.
func Check(ctx context.Context, js *jetstream.Client) error {
	if err := jetstream.CheckServer(js.Conn()); err != nil {
		return fmt.Errorf("check streams: %w", err)
	}
	for _, stream := range js.Streams() {
		found, err := js.Stream(ctx, stream.Name)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", stream.Name, jetstream.ErrNotProvisioned)
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", stream.Name, err)
		}
		if err := checkStream(stream, found.CachedInfo().Config, vital); err != nil {
			return err
		}
	}
	for _, consumer := range js.Consumers([]string{message.DefaultDestination}) {
		if consumer.Config.Durable == events.CacheConsumer {
			continue // it may just be being made anew
		}
		_, err := js.Consumer(ctx, consumer.Stream, consumer.Config.Durable)
		if errors.Is(err, natsjs.ErrConsumerNotFound) {
			return fmt.Errorf("consumer %s of %s: %w", consumer.Config.Durable, consumer.Stream, jetstream.ErrNotProvisioned)
		}
		if err != nil {
			return fmt.Errorf("look up consumer %s of %s: %w", consumer.Config.Durable, consumer.Stream, err)
		}
	}
	return nil
}

// checkStream compares a stream, and the version of the server that answered
// for it, with what is needed.
func checkStream(requested, actual natsjs.StreamConfig, only []string) error {
	if err := jetstream.CheckVersion(actual.Metadata[serverVersion]); err != nil {
		return fmt.Errorf("stream %s: %w", requested.Name, err)
	}
	if err := conforms(differences(requested, actual, only)); err != nil {
		return fmt.Errorf("stream %s: %w", requested.Name, err)
	}
	return nil
}

// serverVersion is the metadata of a stream that names the version of the server
// that answers for it. In a cluster, or behind a leaf node, that may be another
// one than the connection's.
const serverVersion = "_nats.ver"
