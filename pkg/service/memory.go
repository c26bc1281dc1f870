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
	// gcPercent lets the heap grow to four times its live size before a collection.
	// This takes a tenth less CPU than Go's default of 100.
	gcPercent = 300
	// heapTarget limits that growth. Large payloads raise the live size, and four
	// times that would be more memory than a service may use. minGCPercent is the
	// growth that is always allowed; without it the collector would never rest.
	heapTarget   = 128 << 20
	minGCPercent = 50
	// limitRatio is the part of the container's memory limit that Go may use. Near
	// the limit the collector works harder, regardless of gcPercent.
	limitRatio = 0.9
	// defaultLimit applies if the container has no memory limit. It is far above the
	// live size of any service under full load. Under overload, garbage is collected
	// before the process grows beyond it.
	defaultLimit = 1 << 30
)

// TuneMemory configures Go's garbage collector for this process. The memory limit
// comes from the container (cgroup), or is 1 GiB if there is none. The collector
// favours throughput while the live heap is small. GOGC and GOMEMLIMIT override it.
// Call it once, at the start of a program.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		adjustAfterEachGC(&gcNotifier{percent: gcPercent})
	}
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("AUTOMEMLIMIT") == "off" {
		return
	}
	// An error here only means that there is no container limit.
	limit, err := memlimit.Set(memlimit.WithRatio(limitRatio), memlimit.WithProvider(memlimit.FromCgroup))
	if err != nil || limit == math.MaxInt64 {
		debug.SetMemoryLimit(defaultLimit)
	}
}

// gcNotifier is unreachable, so every collection runs its finalizer.
type gcNotifier struct{ percent int }

// adjustAfterEachGC sets the allowed heap growth again after every collection.
func adjustAfterEachGC(c *gcNotifier) {
	runtime.SetFinalizer(c, func(c *gcNotifier) {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		if percent := gcPercentFor(sample[0].Value.Uint64()); percent != c.percent {
			c.percent = percent
			debug.SetGCPercent(percent)
		}
		adjustAfterEachGC(c)
	})
}

// gcPercentFor returns the allowed heap growth in percent of the live bytes.
func gcPercentFor(live uint64) int {
	growth := (heapTarget - int64(live)) * 100 / max(int64(live), 1)
	return int(min(max(growth, minGCPercent), gcPercent))
}
