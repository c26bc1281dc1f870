package service

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	const asJSON = `{"level":"info","ts":"2000-01-01T00:00:00.000Z","logger":"sender","msg":"hello","took":"1m30s"}` + "\n"
	const asText = "2000-01-01T00:00:00.000Z  info  sender  hello  {\"took\": \"1m30s\"}\n"
	tests := map[string]struct {
		cfg      settings.Log
		terminal bool
		want     string
	}{
		"json":                    {settings.Log{Level: "info", Format: "json"}, true, asJSON},
		"console":                 {settings.Log{Level: "info", Format: "console"}, false, asText},
		"unset, on a terminal":    {settings.Log{Level: "info"}, true, asText},
		"unset, not a terminal":   {settings.Log{Level: "INFO"}, false, asJSON},
		"above":                   {settings.Log{Level: "warn"}, false, ""},
		"an empty level is info":  {settings.Log{}, false, asJSON},
		"a wrong one is info too": {settings.Log{Level: "loud"}, false, asJSON},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // the fake clock starts in 2000
				var out bytes.Buffer
				log := newLogger(tt.cfg, zapcore.AddSync(&out), tt.terminal).Named("sender")
				log.Debug("below the level")
				log.Info("hello", zap.Duration("took", 90*time.Second))
				assert.Equal(t, tt.want, out.String())
			})
		})
	}
}

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	assert.False(t, isTerminal(f))
	require.NotNil(t, NewLogger(settings.Log{}))
}
