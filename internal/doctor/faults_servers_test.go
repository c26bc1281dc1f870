package doctor_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/doctor"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// withDatabase makes a fault of a database that is changed by SQL.
func withDatabase(statements ...string) func(*testing.T, *testServers) settings.Environment {
	return func(t *testing.T, _ *testServers) settings.Environment {
		return clitest.Settings("DATABASE_URL", database(t, statements...))
	}
}

func withRole(statements ...string) func(*testing.T, *testServers) settings.Environment {
	return func(t *testing.T, _ *testServers) settings.Environment {
		return clitest.Settings("DATABASE_URL", as(t, statements...))
	}
}

var postgresFaults = map[string]fault{
	"Postgres away": {broken("DATABASE_URL", "postgres://u:p@127.0.0.1:1/x"), []string{"postgres: connection refused → DATABASE_URL"}, doctor.Unreachable},
	"Postgres: a pooler of statements": {func(t *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("DATABASE_URL", embeddedtest.PgBouncer(t, dbtest.URL(t), "statement"))
	}, []string{"postgres: the pooler pools statements → pool_mode"}, doctor.Wrong},
	"Postgres: a pooler that refuses a parameter": {func(t *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("DATABASE_URL", embeddedtest.PgBouncer(t, dbtest.URL(t), "session")+"&search_path=public")
	}, []string{"postgres: unsupported startup parameter → ALTER ROLE"}, doctor.Wrong},
	"Postgres: wrong password": {func(_ *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("DATABASE_URL", wrongPassword(s.env["DATABASE_URL"]))
	}, []string{"postgres: refuses the connection → the password in DATABASE_URL"}, doctor.Wrong},
	"Postgres: no such database": {func(t *testing.T, s *testServers) settings.Environment {
		u, err := url.Parse(s.env["DATABASE_URL"])
		require.NoError(t, err)
		u.Path = "/nowhere"
		return clitest.Settings("DATABASE_URL", u.String())
	}, []string{`postgres: database "nowhere" does not exist → createdb`}, doctor.Wrong},
	"Postgres: the user may not connect": {
		withRole("REVOKE CONNECT ON DATABASE DATABASE FROM PUBLIC"), []string{"postgres: permission denied → GRANT CONNECT"}, doctor.Wrong,
	},
	"Postgres: the user may use no schema": {
		withRole("REVOKE USAGE ON SCHEMA public FROM PUBLIC"), []string{"postgres: any schema of its search_path → GRANT USAGE", "schema: no schema → provision"}, doctor.Wrong,
	},
	"Postgres: the user may not use a table": {
		withRole("GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE", "REVOKE INSERT ON message_filters FROM ROLE", "REVOKE UPDATE, DELETE ON messages FROM ROLE"),
		[]string{"postgres: lacks INSERT on message_filters, DELETE on messages, UPDATE on messages → GRANT"},
		doctor.Wrong,
	},
	"Postgres: the user may not look": {
		withRole(), []string{"postgres: lacks DELETE on attempts → GRANT", "schema: permission denied → log of Postgres"}, doctor.Wrong,
	},
	"Postgres: another encoding":  {otherEncoding, []string{"postgres: encoding is LATIN1 → UTF8", "schema: no schema → provision"}, doctor.Wrong},
	"Postgres: its clock is fast": {withDatabase(`CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 minute' $$`, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$"), []string{"postgres: differ by 1m0 → NTP"}, doctor.Wrong},
	"schema: none": {func(t *testing.T, _ *testServers) settings.Environment {
		return clitest.Settings("DATABASE_URL", dbtest.EmptyURL(t))
	}, []string{"schema: no schema → dispatch provision"}, doctor.Wrong},
	"schema: too old":     {withDatabase("UPDATE schema_migrations SET version = -1"), []string{"schema: schema is not up to date → dispatch provision"}, doctor.Wrong},
	"schema: too new":     {withDatabase("UPDATE schema_migrations SET version = 99"), nil, doctor.OK},
	"schema: unfinished":  {withDatabase("UPDATE schema_migrations SET dirty = true"), []string{"schema: not finished → dirty to false"}, doctor.Wrong},
	"schema: no schedule": {withDatabase("DELETE FROM schedule"), []string{"schema: schedule is not provisioned → dispatch provision"}, doctor.Wrong},
}

func otherEncoding(t *testing.T, _ *testServers) settings.Environment {
	at := database(t, `CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	u, err := url.Parse(at)
	require.NoError(t, err)
	u.Path = "/latin"
	return clitest.Settings("DATABASE_URL", u.String())
}

// withStreams makes a fault of streams that are changed.
func withStreams(change func(t *testing.T, js *jetstream.Client, topology events.Topology)) func(*testing.T, *testServers) settings.Environment {
	return func(t *testing.T, s *testServers) settings.Environment {
		return s.provisioned(t, func(js *jetstream.Client, topology events.Topology) { change(t, js, topology) })
	}
}

// remade makes a stream anew with another configuration.
func remade(name func(events.Topology) string, change func(*natsjs.StreamConfig)) func(*testing.T, *testServers) settings.Environment {
	return withStreams(func(t *testing.T, js *jetstream.Client, topology events.Topology) {
		require.NoError(t, js.DeleteStream(t.Context(), name(topology)))
		for _, config := range topology.Streams() {
			if config.Name != name(topology) {
				continue
			}
			change(&config)
			_, err := js.CreateStream(t.Context(), config)
			require.NoError(t, err)
		}
		for _, c := range topology.Consumers([]string{"default"}) {
			_, err := js.CreateOrUpdateConsumer(t.Context(), c.Stream, c.Config)
			require.NoError(t, err)
		}
	})
}

// noStreams is what is found under a prefix that nobody has provisioned.
var noStreams = []string{
	"stream: NOBODY_INTAKE is missing → provision", "stream: NOBODY_REJECTED is missing → provision",
	"stream: NOBODY_DELIVERIES is missing → provision", "stream: NOBODY_EVENTS is missing → provision", "stream: NOBODY_CHANGES is missing → provision",
	"consumer: ingest of → provision", "consumer: recorder of → provision", "consumer: cache of → provision", "consumer: sender-default of → provision",
}

// withMaxPayload makes a fault of a server that takes no larger messages.
func withMaxPayload(limit string) func(*testing.T, *testServers) settings.Environment {
	return func(t *testing.T, _ *testServers) settings.Environment {
		url := startOtherNATS(t, fmt.Sprintf("jetstream { store_dir: %q }\nmax_payload: %s\n", t.TempDir(), limit))
		return clitest.Settings("NATS_URL", url, "PREFIX", "nobody")
	}
}

var natsFaults = map[string]fault{
	"NATS away": {broken("NATS_URL", "nats://127.0.0.1:1"), []string{"nats: no servers available → NATS_URL"}, doctor.Unreachable},
	"NATS: wrong password": {func(_ *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("NATS_URL", "nats://full:wrong@"+s.port)
	}, []string{"nats: refuses the connection → the password, or the token, in NATS_URL"}, doctor.Wrong},
	"NATS: an unknown authority": {func(t *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("NATS_URL", startSecureNATS(t, embeddedtest.NewCertificates(t), false))
	}, []string{"nats: unknown authority → NATS_CA"}, doctor.Wrong},
	"NATS: it wants a certificate": {func(t *testing.T, s *testServers) settings.Environment {
		files := embeddedtest.NewCertificates(t)
		return clitest.Settings("NATS_URL", startSecureNATS(t, files, true), "NATS_CA", files.CA)
	}, []string{"nats: refuses the connection → NATS_CERT and NATS_KEY"}, doctor.Wrong},
	"NATS: no TLS": {func(t *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("NATS_URL", s.nats("full"), "NATS_CA", embeddedtest.NewCertificates(t).CA)
	}, []string{"nats: secure connection not available → NATS_CA"}, doctor.Wrong},
	"NATS: no JetStream": {func(_ *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("NATS_URL", s.nats("bare"))
	}, []string{"nats: JetStream does not answer → enable it for the account"}, doctor.Wrong},
	"NATS: some subjects are forbidden": {func(t *testing.T, s *testServers) settings.Environment {
		env := s.provisioned(t, nil)
		env["NATS_URL"] = s.nats("few")
		return env
	}, []string{"nats: .events.created.default, subscribe to → permissions of this NATS user"}, doctor.Wrong},
	"NATS: most subjects are forbidden": {func(_ *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("NATS_URL", s.nats("none"))
	}, []string{`nats: may not use JetStream → permissions of this NATS user`}, doctor.Wrong},
	"NATS: max_payload is too small": {
		withMaxPayload("32KB"),
		append([]string{"nats: max_payload is 32768 bytes, and has to be at least 65536 → raise max_payload"}, noStreams...), doctor.Wrong,
	},
	"NATS: max_payload is less than a message may be": {
		withMaxPayload("128KB"),
		append([]string{"nats: MAX_PAYLOAD_BYTES=262144 needs 327680 → lower MAX_PAYLOAD_BYTES"}, noStreams...), doctor.Wrong,
	},
	"streams: none": {func(_ *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("NATS_URL", s.nats("full"), "PREFIX", "nobody")
	}, noStreams, doctor.Wrong},
	"streams: one is missing": {withStreams(func(t *testing.T, js *jetstream.Client, topology events.Topology) {
		require.NoError(t, js.DeleteStream(t.Context(), topology.RejectedStream()))
	}), []string{"stream: _REJECTED is missing → dispatch provision"}, doctor.Wrong},
	"streams: another retention": {remade(events.Topology.IntakeStream, func(c *natsjs.StreamConfig) {
		c.Retention, c.Discard = natsjs.LimitsPolicy, natsjs.DiscardOld
	}), []string{"stream: retention is Limits, not WorkQueue; discard is DiscardOld → dispatch provision"}, doctor.Wrong},
	"streams: no schedules, no room": {remade(events.Topology.DeliveriesStream, func(c *natsjs.StreamConfig) {
		c.AllowMsgSchedules, c.MaxMsgsPerSubject, c.MaxMsgs, c.Duplicates = false, 5, 1000, time.Second
	}), []string{"stream: max_msgs is 1000, not -1; max_msgs_per_subject is 5, not 1; duplicate_window is 1s, not 30s; allow_msg_schedules is false, not true → provision"}, doctor.Wrong},
	"streams: in memory, and short": {remade(events.Topology.RejectedStream, func(c *natsjs.StreamConfig) {
		c.Storage, c.MaxAge = natsjs.MemoryStorage, time.Hour
	}), []string{"stream: max_age is 1h0m0s, not 720h0m0s; storage is Memory → provision"}, doctor.Wrong},
	"streams: more copies wanted": {func(t *testing.T, s *testServers) settings.Environment {
		env := s.provisioned(t, nil)
		env["NATS_REPLICAS"] = "3"
		return env
	}, []string{"stream: _INTAKE: num_replicas is 1, not 3 → NATS_REPLICAS", "stream: _REJECTED: num_replicas → provision", "stream: _DELIVERIES: num_replicas → provision", "stream: _EVENTS: num_replicas → provision", "stream: _CHANGES: num_replicas → provision"}, doctor.Wrong},
	"consumers: one is missing": {withStreams(func(t *testing.T, js *jetstream.Client, topology events.Topology) {
		require.NoError(t, js.DeleteConsumer(t.Context(), topology.EventsStream(), events.RecorderConsumer))
	}), []string{"consumer: recorder of → dispatch provision"}, doctor.Wrong},
	"consumers: another ack wait": {withStreams(func(t *testing.T, js *jetstream.Client, topology events.Topology) {
		consumers := topology.Consumers([]string{"default"})
		deliveries := consumers[len(consumers)-1]
		deliveries.Config.AckWait = time.Minute
		_, err := js.UpdateConsumer(t.Context(), deliveries.Stream, deliveries.Config)
		require.NoError(t, err)
	}), []string{"consumer: _DELIVERIES: ack_wait is 1m0s, not 1m30s → dispatch provision"}, doctor.Wrong},
	"consumers: paused": {withStreams(func(t *testing.T, js *jetstream.Client, topology events.Topology) {
		_, err := js.PauseConsumer(t.Context(), topology.IntakeStream(), events.IntakeConsumer, time.Now().Add(time.Hour))
		require.NoError(t, err)
	}), []string{"consumer: is paused → nats consumer resume"}, doctor.Wrong},
}

func evictingReplica(t *testing.T, _ *testServers) settings.Environment {
	at := startRedis(t)
	client := redisClient(t, at)
	for _, config := range [][2]string{{"maxmemory", "100mb"}, {"maxmemory-policy", "allkeys-lru"}, {"replica-serve-stale-data", "yes"}} {
		require.NoError(t, client.ConfigSet(t.Context(), config[0], config[1]).Err())
	}
	require.NoError(t, client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
	return clitest.Settings("REDIS_URL", at)
}

func userWithoutScripts(t *testing.T, s *testServers) settings.Environment {
	at := startRedis(t)
	client := redisClient(t, at)
	require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all", "-@scripting").Err())
	u, err := url.Parse(at)
	require.NoError(t, err)
	u.User = url.UserPassword("shop", "pw")
	return clitest.Settings("REDIS_URL", u.String())
}
