package service_test

import (
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// TestMemoryIsTunedUnlessTheEnvironmentSays runs in its own process, because the
// collector's settings are global.
func TestMemoryIsTunedUnlessTheEnvironmentSays(t *testing.T) {
	if os.Getenv("TUNE_MEMORY") != "" {
		before := debug.SetGCPercent(-1)
		debug.SetGCPercent(before)
		service.TuneMemory()
		after := debug.SetGCPercent(before)
		_, _ = os.Stdout.WriteString(map[bool]string{true: "kept", false: "tuned"}[before == after] + "\n")
		return
	}
	t.Parallel()
	for gogc, want := range map[string]string{"": "tuned", "55": "kept"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryIsTuned")
		cmd.Env = append(os.Environ(), "TUNE_MEMORY=1", "GOGC="+gogc)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, strings.Split(string(out), "\n"), want, "GOGC=%s", gogc)
	}
}
