// Package streams creates, checks, reads, trims and repairs whole streams and
// their consumers.
package streams

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// noRoom is the server's code for a stream whose limit it can't hold.
const noRoom = 10047

// roomFor says what a server lacks that has no room for a stream.
func roomFor(js *jetstream.Client, stream natsjs.StreamConfig, err error) string {
	var refused *natsjs.APIError
	if !errors.As(err, &refused) || refused.ErrorCode != noRoom {
		return ""
	}
	var all int64
	for _, s := range js.Streams() {
		all += s.MaxBytes
	}
	return fmt.Sprintf(": it reserves %d MiB, all streams %d MiB together, on each of %d servers; make streams smaller (EVENTS_MAX_BYTES and the like), or raise max_file_store of the server, or max_store of the account",
		stream.MaxBytes>>20, all>>20, js.Replicas())
}

// Provision makes every stream and consumer, or brings those that exist up
// to date. It is safe to run at any time, also while services work. It returns
// ErrTooOld for an old server, ErrNotAsRequested if a server reports success
// without doing all that was requested, and ErrHoldsMore, when all else is done,
// if a stream could not be made as small as it should be.
func Provision(ctx context.Context, js *jetstream.Client, destinations []string) error {
	if err := jetstream.CheckServer(js.Conn()); err != nil {
		return fmt.Errorf("provision streams: %w", err)
	}
	plan, err := plan(ctx, js)
	if err != nil {
		return fmt.Errorf("provision streams: %w", err)
	}
	var refusals []error
	for _, p := range plan {
		made, err := js.CreateOrUpdateStream(ctx, p.config)
		if err != nil {
			return fmt.Errorf("provision stream %s: %w%s", p.config.Name, err, roomFor(js, p.config, err))
		}
		if err := checkStream(p.config, made.CachedInfo().Config, nil); err != nil {
			return err
		}
		refusals = append(refusals, p.refusal)
		failpoint.At(failpoint.ProvisionStream)
	}
	for _, consumer := range js.Consumers(destinations) {
		// The first answer after a server's start tells of the consumer as it was
		// before: so the server is asked.
		_, err := js.CreateOrUpdateConsumer(ctx, consumer.Stream, consumer.Config)
		var made natsjs.Consumer
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
