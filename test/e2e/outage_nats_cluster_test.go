package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// An installation on one server of a cluster is spread over all three by
// running provision again, while it works. Then a leader is killed, another
// stands still, a server is cut off from its clients, and all are restarted one
// by one. HTTP clients notice nothing, and publishers that
// repeat what was not acknowledged lose nothing.
func TestAClusterOfThreeServersLosesThemOneByOne(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, testenv.Options{
		Ingests: 1, Dispatchers: 2, Senders: 2, NATSNodes: 3, Proxies: true,
		Settings: map[string]string{"NATS_REPLICAS": "1", "WEBHOOK_TIMEOUT": "10s"},
	})
	i.Start()
	load := startLoad(t, i.Ingests[0].URL, 4)
	intake := i.startPublishing()
	load.await(50)

	i.Env["NATS_REPLICAS"] = "3"
	i.Provision()
	i.awaitReplicas(3)
	load.await(50)

	killed := i.leader(i.top.EventsStream())
	killed.Kill()
	intake.await(20)
	load.await(50)
	killed.Start()
	i.awaitReplicas(3)

	frozen := i.leader(i.top.DeliveriesStream())
	frozen.Freeze()
	intake.await(20)
	load.await(50)
	frozen.Thaw()
	i.awaitReplicas(3)

	for _, u := range i.Services() {
		i.Proxy(u.Name, i.NATS[0].Name).Cut()
	}
	load.await(50)
	for _, u := range i.Services() {
		i.Proxy(u.Name, i.NATS[0].Name).Heal()
	}

	for _, server := range i.NATS {
		require.NoError(t, server.Terminate())
		load.await(20)
		server.Start()
		i.awaitReplicas(3)
	}
	load.await(50)

	require.Zero(t, load.refused.Load(), "HTTP clients are told of nothing")
	accepted := load.stop()
	published := intake.stop()
	i.requireAllSent(append(accepted, i.storedAs(published)...))
}

// awaitReplicas waits until every stream and consumer is on n servers
// that are all up to date.
func (i *installation) awaitReplicas(n int) {
	i.t.Helper()
	behind := ""
	testenv.Eventually(i.t, func() bool {
		ctx, cancel := context.WithTimeout(i.t.Context(), 5*time.Second)
		defer cancel()
		for _, c := range i.top.Consumers([]string{message.DefaultDestination}) {
			stream, err := i.js.Stream(ctx, c.Stream)
			if err != nil {
				behind = fmt.Sprint(c.Stream, err)
				return false
			}
			consumer, err := stream.Consumer(ctx, c.Config.Durable)
			if err != nil {
				behind = fmt.Sprint(c.Config.Durable, err)
				return false
			}
			for name, cluster := range map[string]*natsjs.ClusterInfo{
				c.Stream: stream.CachedInfo().Cluster, c.Config.Durable: consumer.CachedInfo().Cluster,
			} {
				if !current(cluster, n) {
					behind = fmt.Sprintf("%s: %+v", name, cluster)
					return false
				}
			}
		}
		return true
	}, "the replicas are not up to date: %s", behind)
}

func current(cluster *natsjs.ClusterInfo, n int) bool {
	if cluster == nil || cluster.Leader == "" || len(cluster.Replicas) != n-1 {
		return false
	}
	for _, peer := range cluster.Replicas {
		if !peer.Current || peer.Offline {
			return false
		}
	}
	return true
}

// leader is the server that leads a stream.
func (i *installation) leader(stream string) *testenv.NATS {
	i.t.Helper()
	var leader *testenv.NATS
	testenv.Eventually(i.t, func() bool {
		s, err := i.js.Stream(i.t.Context(), stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, server := range i.NATS {
			if server.Name == s.CachedInfo().Cluster.Leader {
				leader = server
			}
		}
		return leader != nil
	}, "%s has no leader", stream)
	return leader
}

// startPublishing publishes to the intake stream until it is stopped; each
// message is repeated under its key until it is acknowledged.
func (i *installation) startPublishing() *load {
	ctx, cancel := context.WithCancel(i.t.Context())
	l := &load{t: i.t, cancel: cancel, more: make(chan struct{}, 1)}
	l.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if id := message.NewID(time.Now()); i.publishOnce(id) {
				l.accept(id)
			}
			<-time.After(5 * time.Millisecond)
		}
	})
	i.t.Cleanup(cancel)
	return l
}

func (i *installation) publishOnce(key message.ID) bool {
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(i.t.Context()), 2*time.Second)
		_, err := i.js.Publish(ctx, i.top.IntakeSubject(message.DefaultDestination), []byte(hello), natsjs.WithMsgID(key.String()))
		cancel()
		if err == nil {
			return true
		}
		<-time.After(50 * time.Millisecond)
	}
	return false
}

// storedAs returns the ids of what was published under keys.
func (i *installation) storedAs(keys []message.ID) []message.ID {
	i.t.Helper()
	ids := make([]message.ID, len(keys))
	for n, key := range keys {
		testenv.Eventually(i.t, func() bool {
			page, err := i.store.List(i.t.Context(), db.Filter{IdempotencyKey: key.String(), Limit: 2})
			if err != nil || len(page) != 1 {
				return false
			}
			ids[n] = page[0].ID
			return true
		}, "what was published as %s is not stored", key)
	}
	return ids
}
