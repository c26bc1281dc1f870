package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	embeddedredis "github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// open starts a Redis and returns a Cache with a new copy, and a client to inspect
// it.
func open(t *testing.T) (*cache.Cache, *redis.Client) {
	t.Helper()
	server, err := embeddedredis.Start(t.Context(), embeddedredis.Config{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	c, err := cache.Open(server.URL(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	options, err := redis.ParseURL(server.URL())
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, c.Begin(t.Context(), "first", 0))
	return c, client
}

func state(version int64, status message.Status) message.Snapshot {
	return message.Snapshot{ID: message.NewID(time.Now()), Status: status, UpdatedAt: time.Now(), Version: version}
}

func at(sequence uint64) cache.Progress { return cache.Progress{Epoch: "first", Sequence: sequence} }

func TestOnlyANewerStateReplacesAnOlder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, client := open(t)
	s := state(5, message.Queued)
	key := "test:message:" + s.ID.String()
	require.NoError(t, c.Put(ctx, []message.Snapshot{s}, at(1)))

	older := s
	older.Version, older.Status = 4, message.Pending
	require.NoError(t, c.Put(ctx, []message.Snapshot{older}, at(2)))
	require.Equal(t, map[string]string{"status": "QUEUED", "version": "5"}, client.HGetAll(ctx, key).Val())
	require.Negative(t, client.TTL(ctx, key).Val())

	sent := time.Date(2026, 11, 24, 15, 0, 0, 123_000_000, time.UTC)
	s.Version, s.Status, s.ExternalID, s.SentAt = 6, message.Sent, "x-1", &sent
	require.NoError(t, c.Put(ctx, []message.Snapshot{s}, at(3)))
	require.Equal(t, map[string]string{
		"status": "SENT", "version": "6", "externalId": "x-1", "sentAt": "2026-11-24T15:00:00.123Z",
	}, client.HGetAll(ctx, key).Val())
	require.InDelta(t, cache.FinalStateTTL, client.TTL(ctx, key).Val(), float64(time.Minute))
}

func TestAFinalStateExpiresAfterADayUnlessItIsRetried(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, client := open(t)
	long := state(2, message.Failed)
	long.UpdatedAt = time.Now().Add(-cache.FinalStateTTL - time.Second)
	failed := state(2, message.Failed)
	require.NoError(t, c.Put(ctx, []message.Snapshot{long, failed}, at(1)))
	require.Zero(t, client.Exists(ctx, "test:message:"+long.ID.String()).Val(), "it has been final for longer")
	require.Positive(t, client.TTL(ctx, "test:message:"+failed.ID.String()).Val())

	failed.Version, failed.Status = 3, message.Pending
	require.NoError(t, c.Put(ctx, []message.Snapshot{failed}, at(2)))
	require.Negative(t, client.TTL(ctx, "test:message:"+failed.ID.String()).Val())
}

func TestAnIncompleteCopyIsDetected(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, client := open(t)
	require.NoError(t, c.Put(ctx, []message.Snapshot{state(1, message.Pending)}, at(7)))
	require.NoError(t, c.Put(ctx, nil, at(3)))
	position, err := c.Progress(ctx)
	require.NoError(t, err)
	require.Equal(t, at(7), position, "progress never decreases")

	require.NoError(t, c.Begin(ctx, "second", 0))
	require.ErrorIs(t, c.Put(ctx, []message.Snapshot{state(1, message.Pending)}, at(8)), cache.ErrIncomplete)

	require.NoError(t, client.FlushAll(ctx).Err())
	require.NoError(t, client.ScriptFlush(ctx).Err()) // as a restart does
	require.ErrorIs(t, c.Put(ctx, []message.Snapshot{state(1, message.Pending)}, at(9)), cache.ErrIncomplete)
	position, err = c.Progress(ctx)
	require.NoError(t, err)
	require.Empty(t, position.Epoch)
}

func TestCountsAreCopied(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, client := open(t)
	require.NoError(t, c.PutCounts(ctx, map[message.Status]int64{message.Sent: 3, message.Failed: 0}))
	require.Equal(t, map[string]string{"SENT": "3", "FAILED": "0"}, client.HGetAll(ctx, "test:counts").Val())
}

func TestAnUnreachableRedisGivesAnErrorSoon(t *testing.T) {
	t.Parallel()
	c, err := cache.Open("redis://127.0.0.1:1", "test")
	require.NoError(t, err)
	defer c.Close()
	began := time.Now()
	require.Error(t, c.Ping(t.Context()))
	require.Error(t, c.Put(t.Context(), nil, at(1)))
	require.Less(t, time.Since(began), 5*time.Second)

	_, err = cache.Open("http://x", "test")
	require.Error(t, err)
}
