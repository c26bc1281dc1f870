package settings

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A password that is not percent-encoded may still give a valid URL, with another
// host and password. Such URLs must be rejected.
func TestURLsWithUnescapedPasswordsAreRejected(t *testing.T) {
	t.Parallel()
	for raw, fine := range map[string]bool{
		"postgres://u:p%23%2F%3F%40%25@h:5432/db":  true,
		"postgres://u:p@ss@h/db":                   true, // the last @ ends the password
		"postgres://u:a$b!c&d+e;f@h/db":            true,
		"postgres://h/db?user=me@server":           true,
		"postgres:///db?user=me@server&password=x": true,
		"postgres://u@h/db":                        true,
		"postgres://u:12#34@h:5432/db":             false, // host u, port 12
		"postgres://u:12/34@h:5432/db":             false,
		"postgres://u:12?34@h:5432/db":             false,
		"postgres://u:p#w@h/db":                    false,
		"postgres://u:p%zz@h/db":                   false,
		"postgres://u:p w@h/db":                    false,
	} {
		assert.Equal(t, fine, Postgres{DatabaseURL: raw}.Validate() == nil, raw)
	}
	for raw, fine := range map[string]bool{
		"redis://u:p%23@h:6379/0": true, "redis://:p@h": true, "unix:///run/redis@1.sock": true,
		"redis://u:12#3@h": false, "redis://u:12/3@h": false, "redis://u:12?3@h": false, "redis://h/0#x": false,
	} {
		assert.Equal(t, fine, Redis{RedisURL: raw}.Validate() == nil, raw)
	}
	for raw, fine := range map[string]bool{
		"nats://u:p%2C1@h:4222": true, "nats://token@h": true, "nats://u:p@a,nats://b": true, "token@a,token@b": true,
		"nats://u:12#3@h": false, "nats://u:12/3@h": false, "nats://u:12?3@h": false, "nats://u:12,3@h": false,
	} {
		assert.Equal(t, fine, NATS{NATSAccess: NATSAccess{URL: raw}, Prefix: "p", Replicas: 1}.Validate() == nil, raw)
	}
}
