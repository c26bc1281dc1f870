package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A NATS server that loses the two others still answers its clients' pings,
// but nothing that takes a majority. Every service is connected to it, and it
// leads the streams. The services go to the others by themselves, and all goes
// on while the partition lasts; when it heals nothing was lost or repeated.
func TestAServerThatIsCutOffFromItsClusterIsLeft(t *testing.T) {
	t.Parallel()
	i := startPartitioned(t, "3")
	minority := i.leader(i.top.EventsStream())
	i.leave(minority)
	i.awaitReplicas(3)
}

// Two of three NATS servers lose each other, and both still have the third.
// No server passes on what it has from another, so that the one that every
// service is connected to has no way to the work queue, which is on the other;
// but it has a majority. The services go to one that has.
func TestAServerThatLosesOneOtherIsLeft(t *testing.T) {
	t.Parallel()
	i := startPartitioned(t, "1")
	queue := i.leader(i.top.DeliveriesStream())
	for _, server := range i.NATS {
		if server != queue {
			i.leave(server, queue)
			return
		}
	}
}

// startPartitioned prepares an installation on three NATS servers, on as many of which
// each stream is.
func startPartitioned(t *testing.T, replicas string) *installation {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes of elections: make proof") //nolint:forbidigo // nothing is missing: it is left to make proof
	}
	return newInstallation(t, testenv.Options{
		Ingests: 1, Dispatchers: 2, Senders: 2, NATSNodes: 3, Proxies: true,
		Settings: map[string]string{"NATS_REPLICAS": replicas, "WEBHOOK_TIMEOUT": "10s"},
	})
}

// leave has every service connected to a NATS server that is then cut off from
// some others, or all, and wants deliveries to go on while that lasts.
func (i *installation) leave(server *testenv.NATS, from ...*testenv.NATS) {
	i.t.Helper()
	const enough = 300
	i.startAt(server)
	load := startLoad(i.t, i.Ingests[0].URL, 2)
	load.await(50)
	delivered := func() int { return len(i.Webhook.Received("")) }

	join := i.Partition(server, from...)
	before := delivered()
	testenv.Eventually(i.t, func() bool { return delivered() >= before+enough }, "deliveries while %s is cut off", server.Name)
	join()
	before = delivered()
	testenv.Eventually(i.t, func() bool { return delivered() >= before+50 })

	require.Zero(i.t, load.refused.Load(), "HTTP clients are told of nothing")
	accepted := load.stop()
	i.requireAllSent(accepted)
}

// startAt starts the services so that all are connected to one NATS server.
func (i *installation) startAt(server *testenv.NATS) {
	i.t.Helper()
	for _, u := range i.Services() {
		for _, other := range i.NATS {
			if other != server {
				i.Proxy(u.Name, other.Name).Set(testenv.Fault{Refuse: true})
			}
		}
	}
	i.Start()
	for _, link := range i.Proxies() {
		link.Heal()
	}
}
