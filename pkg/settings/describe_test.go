package settings

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	type config struct {
		Log Log
		Sub struct {
			Keys string `env:"KEYS,required" secret:"true" help:"keys"`
		} `envPrefix:"SUB_"`
		Again Log
	}
	want := []Variable{
		{Name: "LOG_LEVEL", Default: "info", Help: "debug, info, warn or error"},
		{Name: "LOG_FORMAT", Help: "json or console; unset: console on a terminal, json elsewhere"},
		{Name: "SUB_KEYS", Help: "keys", Secret: true},
	}
	assert.Equal(t, want, Describe(config{}))
	assert.Equal(t, want, Describe(&config{}, Log{}))
}

func TestEveryVariableIsDocumented(t *testing.T) {
	t.Parallel()
	for _, v := range Describe(Postgres{}, NATS{}, Redis{}, Log{}) {
		assert.NotEmpty(t, v.Help, v.Name)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	type config struct {
		Postgres Postgres
		Redis    Redis
		Odd      string `env:"DISPATCH_ODD"`
	}
	links := Environment{
		"DISPATCH_INGEST_SERVICE_HOST": "10.0.0.1", "DISPATCH_INGEST_SERVICE_PORT_HTTP": "80",
		"DISPATCH_INGEST_PORT": "tcp://10.0.0.1:80", "DISPATCH_INGEST_PORT_80_TCP_ADDR": "10.0.0.1",
	}
	tests := map[string]struct {
		env  Environment
		cfg  config
		want []string
	}{
		"nothing wrong": {env: Environment{"DISPATCH_ODD": "x", "HOME": "/", "DB_HOTS": "x"}},
		"unknown":       {env: Environment{"DISPATCH_COLOUR": "x"}, want: []string{"DISPATCH_COLOUR is not known and has no effect"}},
		"close": {
			env: Environment{"DISPATCH_OD": "x", "DISPATCH_DB_HOTS": "x", "DISPATCH_REDIS_URL": "x"},
			want: []string{
				"DISPATCH_DB_HOTS is not known and has no effect; did you mean DB_HOST?",
				"DISPATCH_OD is not known and has no effect; did you mean DISPATCH_ODD?",
				"DISPATCH_REDIS_URL is not known and has no effect; did you mean REDIS_URL?",
			},
		},
		"another program's name": {
			env: Environment{"REDIS_PASS": "x", "DB_USERS": "x", "REDIS_USERNAME": "x", "PORT": "x", "HOSTS": "x"},
			want: []string{
				"DB_USERS is not known and has no effect; did you mean DB_USER?",
				"REDIS_PASS is not known and has no effect; did you mean REDIS_PASSWORD?",
				"REDIS_USERNAME is not known and has no effect; did you mean REDIS_USER?",
			},
		},
		"without Redis": {
			cfg: config{Redis: Redis{User: "u", Password: "p", Port: 6379}},
			want: []string{
				"REDIS_USER is ignored, because neither REDIS_HOST nor REDIS_URL is set",
				"REDIS_PASSWORD is ignored, because neither REDIS_HOST nor REDIS_URL is set",
			},
		},
		"all of it without effect": {
			cfg: config{
				Postgres: Postgres{DatabaseURL: "x", Host: "h", Port: 5433, Name: "n", User: "u", Password: "p"},
				Redis:    Redis{RedisURL: "x", Host: "h", Port: 6380, User: "u", Password: "p"},
			},
			want: []string{
				"DB_HOST is ignored, because DATABASE_URL is set", "DB_PORT is ignored, because DATABASE_URL is set",
				"DB_NAME is ignored, because DATABASE_URL is set", "DB_USER is ignored, because DATABASE_URL is set",
				"DB_PASSWORD is ignored, because DATABASE_URL is set",
				"REDIS_HOST is ignored, because REDIS_URL is set", "REDIS_PORT is ignored, because REDIS_URL is set",
				"REDIS_USER is ignored, because REDIS_URL is set", "REDIS_PASSWORD is ignored, because REDIS_URL is set",
			},
		},
		"without effect": {
			cfg: config{Postgres: Postgres{DatabaseURL: "x", Host: "y"}, Redis: Redis{RedisURL: "x", Host: "y"}},
			want: []string{
				"DB_HOST is ignored, because DATABASE_URL is set",
				"REDIS_HOST is ignored, because REDIS_URL is set",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, Warnings(tt.env, tt.cfg))
			assert.Equal(t, tt.want, Warnings(tt.env, tt.cfg, &tt.cfg), "reported once")
		})
	}
	t.Run("variables set by Kubernetes are ignored in Kubernetes", func(t *testing.T) {
		t.Parallel()
		assert.Len(t, Warnings(links, config{}), 4)
		inPod := Environment{"KUBERNETES_SERVICE_HOST": "10.0.0.1", "DISPATCH_DB_PORT": "1"}
		for name, value := range links {
			inPod[name] = value
		}
		assert.Equal(t, []string{"DISPATCH_DB_PORT is not known and has no effect; did you mean DB_PORT?"}, Warnings(inPod, config{}))
	})
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"URL", "URLS", 1}, {"HOTS", "HOST", 2}} {
		assert.Equal(t, tt.want, distance(tt.a, tt.b), "%s → %s", tt.a, tt.b)
	}
}
