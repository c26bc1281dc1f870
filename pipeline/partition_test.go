package pipeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pipeline/rig"
)

// A NATS server that loses the two others still answers its clients' pings,
// but nothing that takes a majority. Every service is connected to it, and it
// leads the streams. The services go to the others by themselves, and all goes
// on while the partition lasts; when it heals nothing was lost or repeated.
func TestAServerThatIsCutOffFromItsClusterIsLeft(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes minutes of elections: make proof") //nolint:forbidigo // nothing is missing: it is left to make proof
	}
	const enough = 300
	i := newInstallation(t, rig.Options{
		Ingests: 1, Dispatchers: 2, Senders: 2, NATSNodes: 3, Links: true,
		Settings: map[string]string{"NATS_REPLICAS": "3", "WEBHOOK_TIMEOUT": "10s"},
	})
	minority := i.leader(i.top.EventsStream())
	for _, u := range i.Services() {
		for _, server := range i.NATS {
			if server != minority {
				i.Link(u.Name, server.Name).Set(rig.Fault{Refuse: true})
			}
		}
	}
	i.Start()
	for _, link := range i.Links() {
		link.Mend()
	}
	load := startLoad(t, i.Ingests[0].URL, 2)
	load.await(50)
	delivered := func() int { return len(i.Webhook.Received("")) }

	join := i.Part(minority)
	before := delivered()
	require.Eventually(t, func() bool { return delivered() >= before+enough }, 2*patience, patience/100, "deliveries while %s is cut off", minority.Name)
	join()
	before = delivered()
	require.Eventually(t, func() bool { return delivered() >= before+50 }, patience, patience/100)

	require.Zero(t, load.refused.Load(), "HTTP clients are told of nothing")
	accepted := load.stop()
	i.requireAllSent(accepted)
	i.awaitReplicas(3)
}
