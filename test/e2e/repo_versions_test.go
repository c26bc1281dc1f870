package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// TestTheOldestVersionsAreTheSameEverywhere compares what the services check
// with what is documented, and with what is started and installed.
func TestTheOldestVersionsAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	require.Equal(t, dbpool.OldestPostgres, postgres.Oldest)
	said := fmt.Sprintf("PostgreSQL %d, NATS %d.%d and Redis %d", dbpool.OldestPostgres, jetstream.OldestNATS[0], jetstream.OldestNATS[1], cache.OldestRedis)
	for path, want := range map[string]string{
		"../../README.md":          said,
		"../../docs/OPERATIONS.md": said,
		"../../scripts/deps":       fmt.Sprintf("oldest_postgres=%d\n", dbpool.OldestPostgres),
	} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), want, path)
	}
	text, err := os.ReadFile("../../docker-compose.yml")
	require.NoError(t, err)
	images := regexp.MustCompile(`image: (postgres|nats|redis):(\d+)`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, images)
	oldest := map[string]int{"postgres": dbpool.OldestPostgres, "nats": jetstream.OldestNATS[0], "redis": cache.OldestRedis}
	for _, image := range images {
		var major int
		_, err := fmt.Sscan(image[2], &major)
		require.NoError(t, err)
		require.GreaterOrEqual(t, major, oldest[image[1]], image[0])
	}
}
