package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// In a cluster the server that counts deliveries may die while the senders
// stay connected to the others, and notice nothing. What it has delivered
// last then comes again. With one replica it comes as if for the first time,
// so the sender that gets it must not take that for certain; with three
// replicas the servers agree on each delivery before it is made.
func TestADeliveryThatADeadServerForgotIsNotCertainlyTheFirst(t *testing.T) {
	t.Parallel()
	nodes := testenv.StartNATS(t, 3, nil)
	for _, one := range []struct {
		prefix   string
		replicas int
		certain  bool // of a fresh copy
	}{{"single", 1, false}, {"triple", 3, true}} {
		t.Run(one.prefix, func(t *testing.T) {
			ctx := t.Context()
			top := events.NewTopology(one.prefix, one.replicas)
			first := connectTo(t, top, nodes...)
			testenv.Eventually(t, func() bool {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				return streams.Provision(ctx, first, []string{message.DefaultDestination}) == nil
			})
			testenv.ShortenAckWait(t, first.Conn().ConnectedUrl(), one.prefix, 3*time.Second)
			consumer, err := first.Consumer(ctx, top.DeliveriesStream(), top.SenderConsumer(message.DefaultDestination))
			require.NoError(t, err)
			counting := 0 // the node that delivers
			for n, node := range nodes {
				if node.Node.Name == consumer.CachedInfo().Cluster.Leader {
					counting = n
				}
			}
			other := connectTo(t, top, nodes[(counting+1)%3])
			queue, err := deliveries.OpenReceiver(ctx, other, message.DefaultDestination)
			require.NoError(t, err)
			require.NoError(t, queue.Fetch(ctx, 1, func(*deliveries.Delivery) {})) // notes what is stored by now

			builder := events.NewEventBuilder(top, false)
			for range 2 { // the second within the tenth of a second in which nothing is written down
				m := draft()
				m.ClaimNumber = 1
				require.NoError(t, jetstream.NewPublisher(other).Publish(ctx, []events.OutboxMessage{builder.Delivery(events.OriginTick, m)}))
				batch, err := consumer.Fetch(1, natsjs.FetchMaxWait(waitTimeout))
				require.NoError(t, err)
				require.NotNil(t, <-batch.Messages())
			}
			nodes[counting].Kill()
			if one.replicas == 1 {
				nodes[counting].Start()
			}

			var again []*deliveries.Delivery
			testenv.Eventually(t, func() bool {
				_ = queue.Fetch(ctx, 2, func(c *deliveries.Delivery) { again = append(again, c) })
				return len(again) >= 2
			})
			for _, c := range again {
				t.Logf("delivery %d", c.DeliveryCount)
				require.False(t, c.First, "delivery %d", c.DeliveryCount)
			}
			require.Zero(t, other.Conn().Stats().Reconnects, "it is not by its connection that it knows")

			fresh := draft()
			fresh.ClaimNumber = 1
			testenv.Eventually(t, func() bool {
				return jetstream.NewPublisher(other).Publish(ctx, []events.OutboxMessage{builder.Delivery(events.OriginTick, fresh)}) == nil
			})
			var next *deliveries.Delivery
			testenv.Eventually(t, func() bool {
				_ = queue.Fetch(ctx, 1, func(c *deliveries.Delivery) {
					if c.ID == fresh.ID {
						next = c
					}
				})
				return next != nil
			})
			require.Equal(t, one.certain, next.First)
		})
	}
}

func connectTo(t *testing.T, top events.Topology, nodes ...*testenv.NATS) *jetstream.Client {
	t.Helper()
	urls := make([]string, len(nodes))
	for i, node := range nodes {
		urls[i] = node.URL
	}
	js, err := jetstream.Connect(jetstream.Access{URL: strings.Join(urls, ",")}, top, "test")
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	testenv.Eventually(t, js.Conn().IsConnected)
	return js
}
