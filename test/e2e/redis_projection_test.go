package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// withRedis adds a Redis of the test's own to the settings.
func (w *pipeline) withRedis() *goredis.Client {
	w.t.Helper()
	server, err := redis.Start(w.t.Context(), redis.Config{Ephemeral: true})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = server.Stop(context.Background()) })
	w.env["REDIS_URL"] = server.URL()
	options, err := goredis.ParseURL(server.URL())
	require.NoError(w.t, err)
	client := goredis.NewClient(options)
	w.t.Cleanup(func() { _ = client.Close() })
	return client
}

// awaitCopy waits until Redis says of messages and counts what Postgres says.
func (w *pipeline) awaitCopy(client *goredis.Client, ids ...message.ID) {
	w.t.Helper()
	ctx := w.t.Context()
	same := func() bool {
		for _, id := range ids {
			m, err := w.store.Get(ctx, id)
			if err != nil {
				return false
			}
			held, err := client.HGetAll(ctx, "dispatch:message:"+id.String()).Result()
			if err != nil || held["status"] != string(m.Status) || held["version"] != strconv.FormatInt(m.Version, 10) ||
				held["externalId"] != m.ExternalID {
				return false
			}
			if m.SentAt != nil && held["sentAt"] != m.SentAt.Format(time.RFC3339Nano) {
				return false
			}
		}
		overview, err := w.store.Overview(ctx)
		if err != nil {
			return false
		}
		counts, err := client.HGetAll(ctx, "dispatch:counts").Result()
		for status, n := range overview.Counts {
			if err != nil || counts[string(status)] != strconv.FormatInt(n, 10) {
				return false
			}
		}
		return true
	}
	testenv.Eventually(w.t, same, "Redis does not say what Postgres says")
}

func TestRedisHoldsEveryStateAndForgetsFinalOnes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newPipeline(t)
	client := w.withRedis()
	w.runDispatcher()
	w.runDispatcher()
	w.runSender()
	sent := w.insert(drafts(30)...)
	pending := w.insert(draft(func(m *message.Message) { m.DeliverAt = time.Now().Add(time.Hour) }))[0]
	w.requireAllSent(sent)

	w.awaitCopy(client, append(sent, pending)...)

	life, err := client.TTL(ctx, "dispatch:message:"+sent[0].String()).Result()
	require.NoError(t, err)
	require.InDelta(t, 24*time.Hour, life, float64(10*time.Minute))
	life, err = client.TTL(ctx, "dispatch:message:"+pending.String()).Result()
	require.NoError(t, err)
	require.Negative(t, life, "it stays as long as it is not final")
	strays, err := client.Keys(ctx, "*").Result()
	require.NoError(t, err)
	for _, key := range strays {
		require.Regexp(t, "^dispatch:", key)
	}
}

func TestRedisIsExactAgainAfterItForgotEverything(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newPipeline(t)
	client := w.withRedis()
	w.runDispatcher()
	w.runDispatcher()
	w.runSender()
	ids := w.insert(drafts(20)...)
	w.requireAllSent(ids)
	w.awaitCopy(client, ids...)

	require.NoError(t, client.FlushAll(ctx).Err())
	w.awaitCopy(client, ids...)

	// A Redis that was killed may come back without its last second.
	require.NoError(t, client.HSet(ctx, "dispatch:copied", "sequence", 3).Err())
	require.NoError(t, client.Del(ctx, "dispatch:message:"+ids[7].String()).Err())
	w.awaitCopy(client, ids...)
}

// TestRedisShowsARetryBeforeItsEmission has no dispatcher that could copy it.
func TestRedisShowsARetryBeforeItsEmission(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	client := w.withRedis()
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadRequest) })
	dispatcher := w.runDispatcher()
	w.runSender()
	ingest := w.runIngest()
	one, all := ingest.post(t, hello), ingest.post(t, hello)
	erased := ingest.post(t, hello)
	for _, id := range []message.ID{one, all, erased} {
		w.awaitStatus(id, message.Failed)
	}
	w.awaitCopy(client, one, all, erased)
	dispatcher.stop()
	require.NoError(t, client.Del(t.Context(), "dispatch:message:"+erased.String()).Err())

	shows := func(id message.ID, status string) {
		t.Helper()
		testenv.Eventually(t, func() bool {
			held, err := client.HGet(t.Context(), "dispatch:message:"+id.String(), "status").Result()
			return err == nil && held == status
		})
	}
	ingest.request(t, http.MethodPost, "/api/v1/messages/"+one.String()+"/retry", "")
	shows(one, "PENDING")
	life, err := client.TTL(t.Context(), "dispatch:message:"+one.String()).Result()
	require.NoError(t, err)
	require.Negative(t, life, "it stays as long as it is not final")
	ingest.request(t, http.MethodPost, "/api/v1/messages/retry", "{}")
	shows(all, "PENDING")
	require.Zero(t, client.Exists(t.Context(), "dispatch:message:"+erased.String()).Val(), "nothing comes back that was taken away")
}

func TestARedisThatHangsHoldsUpNothingAndCatchesUp(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	client := w.withRedis()
	link := w.viaProxy("REDIS_URL")
	addr := freeAddr(t)
	w.runDispatcher("REDIS_URL", link.URL, "HEALTH_ADDR", addr)
	w.runSender()
	first := w.insert(drafts(5)...)
	w.awaitCopy(client, first...)

	link.Cut()
	ids := w.insert(drafts(50)...)
	began := time.Now()
	w.requireAllSent(ids)
	require.Less(t, time.Since(began), 15*time.Second)
	testenv.Eventually(t, func() bool { return readyWithRedis(t, addr, service.StateDegraded) })
	link.Heal()

	w.awaitCopy(client, append(first, ids...)...)
	testenv.Eventually(t, func() bool { return readyWithRedis(t, addr, service.StateOK) })
}

// readyWithRedis reports whether a service is ready while Redis is in a state.
func readyWithRedis(t *testing.T, addr string, state service.State) bool {
	t.Helper()
	response, err := http.Get("http://" + addr + "/health/ready")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var report service.Report
	require.NoError(t, json.Unmarshal(body, &report))
	return response.StatusCode == http.StatusOK && report.Checks["redis"].State == state
}
