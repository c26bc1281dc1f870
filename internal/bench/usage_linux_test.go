package bench

import (
	"os"
	"os/exec"
	"testing"

	"github.com/shirou/gopsutil/v4/process"
	"github.com/stretchr/testify/require"
)

// TestProcessorTimeOutlivesAProcess has a child use some, and end.
func TestProcessorTimeOutlivesAProcess(t *testing.T) {
	t.Parallel()
	self := &process.Process{Pid: int32(os.Getpid())}
	before := processorTime(self)
	child := exec.CommandContext(t.Context(), "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	require.NoError(t, child.Run())
	used := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	require.Greater(t, used.Seconds(), 2.0/clockTick, "enough to be seen")
	require.GreaterOrEqual(t, processorTime(self)-before, used.Seconds()-2.0/clockTick)
}
