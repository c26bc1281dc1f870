package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// Everything that keeps the time stands still for three intervals: first
// Postgres, whose clock the pace goes by, then a dispatcher, then all of them,
// then both. What was missed is not made up, and the pace goes on.
func TestThePaceHoldsThoughEverythingStandsStillForThreeIntervals(t *testing.T) {
	t.Parallel()
	const (
		interval = time.Second
		batch    = 2
	)
	i := newInstallation(t, testenv.Options{
		Dispatchers: 3,
		Settings:    map[string]string{"PROCESSING_INTERVAL": interval.String(), "BATCH_SIZE": "2"},
	})
	i.insert(drafts(200)...)
	i.Start()
	i.awaitEmitted(batch)

	stood := [][]*testenv.Process{{i.Postgres.Process}, {i.Dispatchers[0]}, i.Dispatchers, append([]*testenv.Process{i.Postgres.Process}, i.Dispatchers...)}
	for _, units := range stood {
		for _, u := range units {
			u.Freeze()
		}
		<-time.After(3 * interval)
		before := len(i.emitted())
		for _, u := range units {
			u.Thaw()
		}
		i.awaitEmitted(before + 2*batch)
	}

	emitted := i.emitted()
	for n := batch; n < len(emitted); n++ {
		apart := emitted[n].Time.Sub(emitted[n-batch].Time)
		require.GreaterOrEqual(t, apart, interval, "emissions %d and %d", n-batch, n)
	}
}

// Postgres is killed, stands still, and refuses connections, under load.
// Clients get an error, and everything accepted arrives once.
func TestPostgresIsKilledStandsStillAndRefuses(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, testenv.Options{
		Ingests: 1, Dispatchers: 2, Senders: 2, Proxies: true,
		Settings: map[string]string{"WEBHOOK_TIMEOUT": "10s"},
	})
	i.Start()
	load := startLoad(t, i.Ingests[0].URL, 8)
	load.await(100)

	i.Postgres.Kill()
	i.Postgres.Start()
	load.await(100)

	away := time.Minute
	if testing.Short() {
		away = 7 * time.Second // longer than a query may take anywhere
	}
	i.Postgres.Freeze()
	<-time.After(away)
	i.Postgres.Thaw()
	load.await(100)

	for _, u := range i.Services() {
		link := i.Proxy(u.Name, "postgres")
		link.Set(testenv.Fault{Refuse: true})
		link.Reset()
	}
	<-time.After(away)
	for _, u := range i.Services() {
		i.Proxy(u.Name, "postgres").Heal()
	}
	load.await(100)

	i.requireAllSent(load.stop())
}
