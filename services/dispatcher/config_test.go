package dispatcher

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func TestConfigNamesEveryMistake(t *testing.T) {
	t.Parallel()
	env := settings.Environment{"DATABASE_URL": "postgres://u@h/n", "LEASE": "10ms", "EVENT_CONTENT": "some"}
	_, err := settings.Parse[Config](env)
	var wrong *settings.ValidationErrors
	require.ErrorAs(t, err, &wrong)
	assert.EqualError(t, err, "LEASE=\"10ms\": must be at least 1s\nEVENT_CONTENT=\"some\": must be none or full")

	cfg, err := settings.Parse[Config](settings.Environment{"DATABASE_URL": "postgres://u@h/n"})
	require.NoError(t, err)
	assert.Equal(t, 5*time.Minute, cfg.Lease)
	assert.False(t, cfg.Redis.Enabled())
}
