package crash_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// provisionPoints are passed by a process that ends by itself.
func provisionPoints() []scenario {
	return []scenario{
		{point: failpoint.ProvisionStep},
		{point: failpoint.ProvisionMigrated},
		{point: failpoint.ProvisionScheduled},
		{point: failpoint.ProvisionStream, passing: ":2"},
		{point: failpoint.ProvisionConsumer, passing: ":2"},
	}
}

// A provision that dies is run again, by its caller, and must then
// come to its end.
func TestEveryCrashOfAProvisionIsSurvived(t *testing.T) {
	t.Parallel()
	nats := testenv.StartNATS(t, 1, nil)[0].URL
	for _, s := range provisionPoints() {
		for _, times := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %d", s.name(), times), func(t *testing.T) {
				t.Parallel()
				env := settings.Environment{
					"DATABASE_URL": dbtest.EmptyURL(t), "NATS_URL": nats, "LOG_LEVEL": "warn",
					"PREFIX": fmt.Sprintf("crash%d", prefixes.Add(1)), "PROCESSING_INTERVAL": "30s",
				}
				provision := newVictim(t, env, "provision", func(env map[string]string) *testenv.Process {
					return testenv.NewProcess(t, "provision", testenv.Build(t, "failpoints"), env, "provision")
				})
				<-provision.superviseDeaths(s.deaths(times), func() {})
				require.False(t, t.Failed(), "it did not die as planned")
				require.Zero(t, provision.Wait(), "%s", provision.Output)

				pool, err := dbpool.Open(t.Context(), withConnectTimeout(env["DATABASE_URL"]), dbpool.Options{Name: "test"})
				require.NoError(t, err)
				t.Cleanup(pool.Close)
				require.NoError(t, migrate.Check(t.Context(), pool))
				overview, err := db.NewStore(pool).Overview(t.Context())
				require.NoError(t, err)
				require.Equal(t, message.Duration(30*time.Second), overview.Interval)
				top := events.NewTopology(env["PREFIX"], 1)
				js, err := jetstream.Connect(jetstream.Access{URL: nats}, top, "test")
				require.NoError(t, err)
				t.Cleanup(js.Conn().Close)
				for _, consumer := range top.Consumers([]string{message.DefaultDestination}) {
					_, err := js.Consumer(t.Context(), consumer.Stream, consumer.Config.Durable)
					require.NoError(t, err)
				}
			})
		}
	}
}
