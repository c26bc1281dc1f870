package cache_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// waitTimeout limits every wait of a test.
const waitTimeout = time.Minute

func client(t *testing.T, port string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openWith(t *testing.T, url string, options cache.Options) *cache.Cache {
	t.Helper()
	require.NoError(t, cache.CheckURL(url))
	c, err := cache.OpenWith(url, "test", options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newCluster starts a cluster of two nodes, each with half of the slots.
func newCluster(t *testing.T) (url string, nodes [2]*redis.Client) {
	t.Helper()
	var ports [2]string
	for i, slots := range [2][2]int{{0, 8191}, {8192, 16383}} {
		ports[i] = embeddedtest.Redis(t, nil, "port PORT", "cluster-enabled yes", "cluster-port "+strconv.Itoa(embeddedtest.FreePort(t)))
		nodes[i] = client(t, ports[i])
		require.NoError(t, nodes[i].ClusterAddSlotsRange(t.Context(), slots[0], slots[1]).Err())
	}
	bus := nodes[1].ConfigGet(t.Context(), "cluster-port").Val()["cluster-port"]
	require.NoError(t, nodes[0].Do(t.Context(), "CLUSTER", "MEET", "127.0.0.1", ports[1], bus).Err())
	for _, node := range nodes {
		require.Eventually(t, func() bool {
			info := node.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		}, waitTimeout, time.Millisecond)
	}
	return fmt.Sprintf("redis://127.0.0.1:%s,127.0.0.1:%s", ports[0], ports[1]), nodes
}

func TestAClusterHoldsTheCopy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url, nodes := newCluster(t)
	c := openWith(t, url, cache.Options{Cluster: true})
	require.NoError(t, c.Begin(ctx, "first", 0))
	states := make([]message.Snapshot, 250)
	ids := make([]message.ID, len(states))
	for i := range states {
		states[i] = state(5, message.Queued)
		ids[i] = states[i].ID
	}
	require.NoError(t, c.Put(ctx, states, at(7)))
	held := func() (n int64) {
		for _, node := range nodes {
			keys, err := node.Keys(ctx, "test:message:*").Result()
			require.NoError(t, err)
			require.NotEmpty(t, keys, "each node holds some")
			n += int64(len(keys))
		}
		return n
	}
	require.EqualValues(t, len(states), held())
	position, err := c.Progress(ctx)
	require.NoError(t, err)
	require.Equal(t, at(7), position)
	condition, err := c.ServerInfo(ctx)
	require.NoError(t, err)
	require.False(t, condition.ReadOnly)
	require.NoError(t, c.Refresh(ctx, states[:10]))
	require.NoError(t, c.PutCounts(ctx, map[message.Status]int64{message.Sent: 1}))
	gone, err := c.Delete(ctx, ids[:100])
	require.NoError(t, err)
	require.EqualValues(t, 100, gone)
	require.EqualValues(t, len(states)-100, held())

	require.NoError(t, c.Clear(ctx))
	for _, node := range nodes {
		require.Empty(t, node.Keys(ctx, "test:message:*").Val())
	}

	for _, node := range nodes { // each node in turn loses its data
		require.NoError(t, c.Begin(ctx, "first", 0))
		require.NoError(t, c.Put(ctx, states, at(8)))
		require.NoError(t, node.FlushAll(ctx).Err())
		require.NoError(t, node.ScriptFlush(ctx).Err())
		position, err := c.Progress(ctx)
		require.NoError(t, err)
		require.Empty(t, position.Epoch)
		require.ErrorIs(t, c.Put(ctx, states[:5], at(9)), cache.ErrIncomplete)
	}

	alone := openWith(t, strings.Split(url, ",")[0], cache.Options{})
	err = alone.Ping(ctx)
	require.ErrorIs(t, err, cache.ErrIsCluster)
	require.Contains(t, cache.Reason(err), "REDIS_CLUSTER")
}

func TestAFailoverBySentinelIsFollowed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	primary := embeddedtest.Redis(t, nil, "port PORT", "requirepass pw", "masterauth pw", "repl-diskless-sync-delay 0")
	replica := embeddedtest.Redis(t, nil, "port PORT", "requirepass pw", "masterauth pw", "replicaof 127.0.0.1 "+primary)
	sentinel := embeddedtest.Redis(t, []string{"--sentinel"}, "port PORT", "requirepass s", "sentinel monitor main 127.0.0.1 "+primary+" 1", "sentinel auth-pass main pw")
	c := openWith(t, "redis://:pw@127.0.0.1:"+sentinel, cache.Options{Sentinel: "main", SentinelPassword: "s"})
	require.NoError(t, c.Begin(ctx, "first", 0))
	s := state(1, message.Queued)
	require.NoError(t, c.Put(ctx, []message.Snapshot{s}, at(1)))
	there := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + replica, Password: "pw"})
	t.Cleanup(func() { _ = there.Close() })
	version := func() string { return there.HGet(ctx, "test:message:"+s.ID.String(), "version").Val() }
	require.Eventually(t, func() bool { return version() == "1" }, waitTimeout, time.Millisecond)
	watch := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + sentinel, Password: "s"})
	t.Cleanup(func() { _ = watch.Close() })
	require.Eventually(t, func() bool { return watch.Failover(ctx, "main").Err() == nil }, waitTimeout, 10*time.Millisecond,
		"the replica is known and has caught up")
	require.Eventually(t, func() bool {
		there, err := watch.GetMasterAddrByName(ctx, "main").Result()
		return err == nil && there[1] == replica
	}, waitTimeout, 10*time.Millisecond)
	s.Version = 2
	require.Eventually(t, func() bool { // writes to the old primary are lost
		return c.Put(ctx, []message.Snapshot{s}, at(2)) == nil && version() == "2"
	}, waitTimeout, 10*time.Millisecond)

	err := openWith(t, "redis://:s@127.0.0.1:"+sentinel, cache.Options{}).Ping(ctx)
	require.ErrorIs(t, err, cache.ErrIsSentinel)
	require.Contains(t, cache.Reason(err), "REDIS_SENTINEL")
}

// TestRedisIsReachedByTLSAsAUser uses the permissions that the documentation lists.
func TestRedisIsReachedByTLSAsAUser(t *testing.T) {
	t.Parallel()
	files := embeddedtest.NewCertificates(t)
	port := embeddedtest.Redis(t, nil, "port 0", "tls-port PORT", "tls-cert-file "+files.ServerCert, "tls-key-file "+files.ServerKey,
		"tls-ca-cert-file "+files.CA, "user default off", "user shop on >pw ~test:* +@hash +@keyspace +@scripting +@connection +info")
	access := cache.Options{CA: files.CA, Cert: files.ClientCert, Key: files.ClientKey}
	c := openWith(t, "rediss://shop:pw@127.0.0.1:"+port, access)
	require.NoError(t, c.Begin(t.Context(), "first", 0))
	require.NoError(t, c.Put(t.Context(), []message.Snapshot{state(1, message.Queued)}, at(1)))
	_, err := c.ServerInfo(t.Context())
	require.NoError(t, err)

	for name, r := range map[string]struct {
		url    string
		access cache.Options
		reason string
	}{
		"wrong password":    {"rediss://shop:no@127.0.0.1:", access, "refuses the user or the password"},
		"unknown authority": {"rediss://shop:pw@127.0.0.1:", cache.Options{Cert: files.ClientCert, Key: files.ClientKey}, "not trusted"},
	} {
		require.Contains(t, cache.Reason(openWith(t, r.url+port, r.access).Ping(t.Context())), r.reason, name)
	}
	require.Error(t, openWith(t, "rediss://shop:pw@127.0.0.1:"+port, cache.Options{CA: files.CA}).Ping(t.Context()), "the server requires a certificate")
	plain := embeddedtest.Redis(t, nil, "port PORT")
	err = openWith(t, "rediss://127.0.0.1:"+plain, cache.Options{CA: files.CA}).Ping(t.Context())
	require.Error(t, err, "a plain server does not speak TLS")
	_, err = cache.OpenWith("redis://127.0.0.1:"+plain, "test", cache.Options{CA: files.CA})
	require.ErrorContains(t, err, "rediss://")
}
