package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func TestLifecycleIsValidated(t *testing.T) {
	t.Parallel()
	assert.NoError(t, Lifecycle{ShutdownTimeout: 1, HealthAddr: ":0"}.Validate())
	assert.EqualError(t, Lifecycle{ShutdownTimeout: -time.Second, HealthAddr: "8081"}.Validate(),
		"SHUTDOWN_TIMEOUT=\"-1s\": must be more than 0\nHEALTH_ADDR=\"8081\": must be host:port, for example 127.0.0.1:8080 or :8080")
	assert.EqualError(t, Lifecycle{ShutdownTimeout: 1, HealthAddr: ":http"}.Validate(),
		"HEALTH_ADDR=\":http\": must be host:port, for example 127.0.0.1:8080 or :8080")
}

func TestLifecycleIsDocumented(t *testing.T) {
	t.Parallel()
	for _, v := range settings.Describe(Lifecycle{}) {
		assert.NotEmpty(t, v.Help, v.Name)
	}
}
