package service

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to four times what is live before it is
	// collected, which takes a tenth less CPU than Go's default of 100.
	gcPercent = 300
	// heapCeiling is how far it may grow so. With large payloads more is live,
	// and four times that would be more than a service may take. leastPercent is
	// how far it may grow whatever is live: else the collector would never rest.
	heapCeiling  = 128 << 20
	leastPercent = 50
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
// throughput while little is live. GOGC and GOMEMLIMIT, where they are set, win. It is for a
// program's start.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		keepHeapLow(&collection{percent: gcPercent})
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

// collection is garbage at every collection, and so hears of each.
type collection struct{ percent int }

// keepHeapLow sets after each collection how far the heap may grow until the
// next.
func keepHeapLow(c *collection) {
	runtime.SetFinalizer(c, func(c *collection) {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		if percent := gcPercentFor(sample[0].Value.Uint64()); percent != c.percent {
			c.percent = percent
			debug.SetGCPercent(percent)
		}
		keepHeapLow(c)
	})
}

// gcPercentFor is how far the heap may grow beyond what is live.
func gcPercentFor(live uint64) int {
	growth := (heapCeiling - int64(live)) * 100 / max(int64(live), 1)
	return int(min(max(growth, leastPercent), gcPercent))
}
