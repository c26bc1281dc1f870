package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// suffix makes a name nobody else's.
func suffix() string {
	random := make([]byte, 5)
	_, _ = rand.Read(random) // it never fails
	return hex.EncodeToString(random)
}

// answerLimit is how long a server may take to answer a request that changes
// or asks for little.
const answerLimit = 15 * time.Second

// connect connects for the load, and for making and removing streams. Unlike
// a service it gives up at once.
func (b *Bench) connect(topology events.Topology) (*jetstream.Client, error) {
	nc, err := nats.Connect(b.stack.NATSURL, nats.Name("dispatch-bench"))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(4096))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return jetstream.NewClient(js, topology), nil
}

// createStreams makes the streams of a topology. A service would wait until
// somebody has put right what is in the way; here the reason is told at once.
func (b *Bench) createStreams(ctx context.Context, topology events.Topology) error {
	js, err := b.connect(topology)
	if err != nil {
		return err
	}
	defer js.Close()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if err := streams.Provision(ctx, js, []string{message.DefaultDestination}); err != nil {
		return fmt.Errorf("create streams in NATS: %w", err)
	}
	return nil
}

// removeStreams removes the streams of a topology, as far as they are there.
func (b *Bench) removeStreams(ctx context.Context, topology events.Topology) error {
	js, err := b.connect(topology)
	if err != nil {
		return fmt.Errorf("left behind: streams %s_*: %w", strings.ToUpper(topology.Prefix()), err)
	}
	defer js.Close()
	var errs []error
	for _, stream := range topology.Streams() {
		if err := js.DeleteStream(ctx, stream.Name); err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("left behind: stream %s: %w", stream.Name, err))
		}
	}
	return errors.Join(errs...)
}

func openRedis(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("read REDIS_URL: %w", err)
	}
	return redis.NewClient(options), nil
}

// pingRedis makes sure that a given Redis is there: the services would do
// without it, and what is measured would be something else.
func pingRedis(ctx context.Context, url string) error {
	client, err := openRedis(url)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reach Redis: %w", err)
	}
	return nil
}

// keysAtOnce is how many keys are looked at, and removed, in one go: little
// enough to disturb nobody.
const keysAtOnce = 1000

// removeKeys removes what the services have kept in Redis under a prefix.
func removeKeys(ctx context.Context, url, prefix string) error {
	client, err := openRedis(url)
	if err != nil {
		return err
	}
	defer client.Close()
	for cursor := uint64(0); ; {
		var keys []string
		keys, cursor, err = client.Scan(ctx, cursor, prefix+":*", keysAtOnce).Result()
		if err == nil && len(keys) > 0 {
			err = client.Unlink(ctx, keys...).Err()
		}
		if err != nil {
			return fmt.Errorf("left behind: keys %s:* in Redis: %w", prefix, err)
		}
		if cursor == 0 {
			return nil
		}
	}
}
