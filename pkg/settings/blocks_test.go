package settings

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPostgresURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   Postgres
		want string
	}{
		"nothing":        {Postgres{Port: 5432, Name: "dispatch"}, ""},
		"the URL wins":   {Postgres{DatabaseURL: "postgres://x/y", Host: "db"}, "postgres://x/y"},
		"parts":          {Postgres{Host: "db", Port: 5433, Name: "n", User: "u", Password: "p"}, "postgres://u:p@db:5433/n"},
		"no password":    {Postgres{Host: "db", Port: 5432, Name: "n", User: "u"}, "postgres://u@db:5432/n"},
		"IPv6":           {Postgres{Host: "::1", Port: 5432, Name: "n", User: "u"}, "postgres://u@[::1]:5432/n"},
		"IPv6, brackets": {Postgres{Host: "[::1]", Port: 5432, Name: "n", User: "u"}, "postgres://u@[::1]:5432/n"},
		"socket":         {Postgres{Host: "/run/pg", Port: 5432, Name: "n", User: "u"}, "postgres://u@/n?host=%2Frun%2Fpg&port=5432"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, tt.in.URL())
		})
	}

	t.Run("special characters survive encoding in the URL", func(t *testing.T) {
		t.Parallel()
		p := Postgres{Host: "db", Port: 5432, Name: "a b?#%", User: "us:er@x", Password: `p@s/s:w#r?d %41"'é`}
		u, err := url.Parse(p.URL())
		require.NoError(t, err)
		password, _ := u.User.Password()
		assert.Equal(t, []string{p.User, p.Password, "/" + p.Name, "db:5432"}, []string{u.User.Username(), password, u.Path, u.Host})
	})
}

func TestRedisURL(t *testing.T) {
	t.Parallel()
	none := Redis{Port: 6379}
	assert.False(t, none.Enabled())
	assert.Empty(t, none.URL())
	assert.NoError(t, none.Validate())
	assert.Equal(t, "redis://cache:6379", Redis{Host: "cache", Port: 6379}.URL())
	assert.Equal(t, "rediss://:p@c/1", Redis{RedisURL: "rediss://:p@c/1", Host: "cache", Port: 6379}.URL())
	assert.True(t, Redis{Host: "cache"}.Enabled())

	odd := Redis{Host: "cache", Port: 6379, User: "us:er@x", Password: `p@s/s:w#r?d %41"'é`}
	u, err := url.Parse(odd.URL())
	require.NoError(t, err)
	password, _ := u.User.Password()
	assert.Equal(t, []string{odd.User, odd.Password, "cache:6379"}, []string{u.User.Username(), password, u.Host})
	assert.Equal(t, "redis://:p@cache:6379", Redis{Host: "cache", Port: 6379, Password: "p"}.URL())
}

func TestBlocksValidate(t *testing.T) {
	t.Parallel()
	nats := func(url string) NATS { return NATS{NATSAccess: NATSAccess{URL: url}, Prefix: "dispatch", Replicas: 1} }
	tests := map[string]struct {
		in   interface{ Validate() error }
		want string // empty: valid
	}{
		"postgres URL":                 {Postgres{DatabaseURL: "postgresql://u:p@h/n"}, ""},
		"postgres parts":               {Postgres{Host: "h", Port: 1, Name: "n", User: "u"}, ""},
		"no postgres":                  {Postgres{Port: 5432, Name: "n"}, "DATABASE_URL: must be set, or DB_HOST, DB_USER, DB_PASSWORD and DB_NAME"},
		"postgres half":                {Postgres{Host: "h"}, "DB_PORT=\"0\": must be from 1 to 65535\nDB_NAME: must be set\nDB_USER: must be set when DB_HOST is"},
		"postgres, wrong scheme":       {Postgres{DatabaseURL: "mysql://u:geheim@h/n"}, "DATABASE_URL=(hidden): must be a URL like postgres://user:password@host:5432/name, with special characters of the password percent-encoded"},
		"postgres, unescaped":          {Postgres{DatabaseURL: "postgres://u:ge#heim@h/n"}, "DATABASE_URL=(hidden): must be a URL like postgres://user:password@host:5432/name, with special characters of the password percent-encoded"},
		"nats list":                    {nats("nats://a:4222, tls://b:4222,c:4222,user:pw@d"), ""},
		"nats, wrong scheme":           {nats("nats://a,http://u:geheim@b"), "NATS_URL=(hidden): must be nats://host:port, tls://, ws:// or wss://, several separated by commas"},
		"nats, empty":                  {nats(""), "NATS_URL=(hidden): must be nats://host:port, tls://, ws:// or wss://, several separated by commas"},
		"nats, two errors":             {NATS{NATSAccess: NATSAccess{URL: "nats://a"}, Prefix: "a.b", Replicas: 2}, "PREFIX=\"a.b\": must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit\nNATS_REPLICAS=\"2\": must be 1, 3 or 5"},
		"redis":                        {Redis{RedisURL: "unix:///run/redis.sock"}, ""},
		"redis, no URL":                {Redis{RedisURL: "localhost:6379"}, "REDIS_URL=(hidden): must be a URL like redis://user:password@host:6379/0, rediss:// or unix:///path"},
		"postgres, a port in the host": {Postgres{Host: "db:5432", Port: 1, Name: "n", User: "u"}, `DB_HOST="db:5432": must be a host name or an address alone, without scheme, user, port and path`},
		"redis, a URL for the host":    {Redis{Host: "redis://c", Port: 1}, `REDIS_HOST="redis://c": must be a host name or an address alone, without scheme, user, port and path`},
		"redis, IPv6":                  {Redis{Host: "[::1]", Port: 1}, ""},
		"redis, a user alone":          {Redis{Host: "c", Port: 1, User: "u"}, `REDIS_USER="u": must be unset without REDIS_PASSWORD: Redis knows no user without one`},
		"redis URL, a user alone":      {Redis{RedisURL: "redis://u@c"}, "REDIS_URL=(hidden): must have a password after the user, as redis://user:password@host, or neither: Redis knows no user without one"},
		"redis, port":                  {Redis{Host: "h"}, "REDIS_PORT=\"0\": must be from 1 to 65535"},
		"log":                          {Log{Level: "WARN", Format: "JSON"}, ""},
		"log, two errors":              {Log{Level: "loud", Format: "xml"}, "LOG_LEVEL=\"loud\": must be debug, info, warn or error\nLOG_FORMAT=\"xml\": must be json or console"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.in.Validate()
			if tt.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, tt.want)
		})
	}
}
