package settings

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCredentialFilesAreValidated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	creds := file("creds", "-----BEGIN NATS USER JWT-----\n")
	nkey := file("nkey", "SUAM\n")
	other := file("other", "x")
	missing := filepath.Join(dir, "missing")
	nats := func(a NATSAccess) NATS {
		a.URL = "nats://a"
		return NATS{NATSAccess: a, Prefix: "dispatch", Replicas: 1}
	}
	for name, c := range map[string]struct {
		access NATSAccess
		want   string // empty: valid
	}{
		"credentials":        {NATSAccess{Creds: creds}, ""},
		"an nkey":            {NATSAccess{NKey: nkey}, ""},
		"a domain":           {NATSAccess{Domain: "hub-1"}, ""},
		"no credentials":     {NATSAccess{Creds: missing}, "can't be read: no such file"},
		"something else":     {NATSAccess{Creds: other}, "must be a file with a user's JWT and seed"},
		"a key in its place": {NATSAccess{NKey: other}, "must be a file with the seed of a user"},
		"two users":          {NATSAccess{Creds: creds, NKey: nkey}, "can't be used with NATS_CREDS"},
		"no authority":       {NATSAccess{CA: other}, "must be a file with PEM certificates"},
		"half a pair":        {NATSAccess{Cert: other}, "NATS_KEY: must be set when NATS_CERT is"},
		"the other half":     {NATSAccess{Key: other}, "NATS_CERT: must be set when NATS_KEY is"},
		"no pair":            {NATSAccess{Cert: other, Key: other}, "can't be used with NATS_KEY"},
		"two words":          {NATSAccess{Domain: "hub.eu"}, "NATS_DOMAIN"},
	} {
		err := nats(c.access).Validate()
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
	err := nats(NATSAccess{Creds: missing, CA: other, Cert: other, Domain: "*"}).Validate()
	for _, variable := range []string{"NATS_CREDS", "NATS_CA", "NATS_KEY", "NATS_DOMAIN"} {
		require.ErrorContains(t, err, variable, "every validation error is reported")
	}
}

func TestASetupOfRedisFitsItsURL(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca")
	require.NoError(t, os.WriteFile(ca, []byte("x"), 0o600))
	for name, c := range map[string]struct {
		redis Redis
		want  string // empty: valid
	}{
		"a cluster":           {Redis{RedisURL: "redis://:p@a:1,b:2", RedisAccess: RedisAccess{Cluster: true}}, ""},
		"Sentinels":           {Redis{RedisURL: "redis://u:p@a,b/1", RedisAccess: RedisAccess{Sentinel: "main", SentinelPassword: "s"}}, ""},
		"a host and Sentinel": {Redis{Host: "a", Port: 1, RedisAccess: RedisAccess{Sentinel: "main"}}, ""},
		"several hosts":       {Redis{RedisURL: "redis://a,b"}, "REDIS_URL=(hidden): must have one host"},
		"a database":          {Redis{RedisURL: "redis://a/1", RedisAccess: RedisAccess{Cluster: true}}, "REDIS_CLUSTER"},
		"both":                {Redis{RedisURL: "redis://a", RedisAccess: RedisAccess{Cluster: true, Sentinel: "main"}}, "can't be used with REDIS_CLUSTER"},
		"a socket":            {Redis{RedisURL: "unix:///a", RedisAccess: RedisAccess{Sentinel: "main"}}, "must not be a socket"},
		"no name":             {Redis{RedisURL: "redis://a", RedisAccess: RedisAccess{SentinelPassword: "geheim"}}, "REDIS_SENTINEL: must be set"},
		"no TLS":              {Redis{RedisURL: "redis://a", RedisAccess: RedisAccess{CA: ca}}, "must begin with rediss://"},
		"no certificates":     {Redis{RedisURL: "rediss://a", RedisAccess: RedisAccess{CA: ca}}, "REDIS_CA"},
		"half a pair":         {Redis{RedisURL: "rediss://a", RedisAccess: RedisAccess{Cert: ca}}, "REDIS_KEY: must be set when REDIS_CERT is"},
	} {
		err := c.redis.Validate()
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "geheim")
	}
	require.Empty(t, Redis{RedisURL: "redis://a", Port: 6379, RedisAccess: RedisAccess{Sentinel: "main"}}.Warnings())
	require.Equal(t, []string{"REDIS_SENTINEL is ignored, because neither REDIS_HOST nor REDIS_URL is set"},
		Redis{Port: 6379, RedisAccess: RedisAccess{Sentinel: "main"}}.Warnings())
}
