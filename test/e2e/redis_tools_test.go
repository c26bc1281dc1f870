package e2e_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// redisField waits until a field of a hash in Redis is there and returns it.
func redisField(t *testing.T, url, key, field string) string {
	t.Helper()
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()
	var value string
	testenv.Eventually(t, func() bool {
		value, err = client.HGet(t.Context(), key, field).Result()
		return err == nil && (field != "status" || value == "SENT")
	})
	return value
}
