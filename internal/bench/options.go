package bench

import (
	"encoding/json"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Options say what to measure, and where.
type Options struct {
	Load        string        // one of Loads
	Messages    int           // that are counted
	WarmUp      int           // messages before them, which are not
	Connections int           // of the load
	BatchSize   int           // of LoadBatch; LoadNDJSON sends ten times as many at once
	Rate        int           // messages a second; 0: as fast as they are taken
	Delay       time.Duration // of the webhook
	FailFirst   bool          // every message fails once
	RetryBase   time.Duration // RETRY_BASE of the senders; 0: 200 ms
	Backlog     bool          // all messages are stored before the first is emitted
	RawFor      time.Duration // how long the machine's own limits are measured; 0: a second
	Stored      int           // finished messages that are there before the run begins

	Senders     int // how many; 0 is 1
	Concurrency int // requests in flight, of each sender
	// Apart has every service run as a process of its own: Program, started
	// with the service's name, as the dispatch command is.
	Apart   bool
	Program string

	// Servers says where they are, by the names that every service takes:
	// DATABASE_URL or DB_HOST and so on, NATS_URL, NATS_REPLICAS, REDIS_URL or
	// REDIS_HOST. What is not given is started.
	Servers settings.Environment
	Dir     string // where started servers keep their data; empty: the system's temporary directory

	// Progress is called, one call at a time, with what is being done and how
	// far it is. Notice is given what a person should know. Either may be nil.
	Progress func(what string, done, of int)
	Notice   func(line string)
	Log      *zap.Logger // of what runs in this process
}

func (o Options) withDefaults() Options {
	o.Senders = max(o.Senders, 1)
	if o.RetryBase == 0 {
		o.RetryBase = 200 * time.Millisecond
	}
	if o.RawFor == 0 {
		o.RawFor = time.Second
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// Result is what one run came to.
type Result struct {
	Delivered float64 `json:"deliveredPerSecond"`
	Accepted  float64 `json:"acceptedPerSecond"`
	// RawHTTP is how many bare requests a second this machine answered to the
	// same connections just before, RawInserts how many plain INSERTs of one
	// row, each committed by itself, Postgres did for RawInsertConnections:
	// what the other figures are to be seen beside, since machines differ, and
	// one machine from minute to minute.
	RawHTTP              float64 `json:"rawHTTPPerSecond"`
	RawInserts           float64 `json:"rawInsertsPerSecond"`
	RawInsertConnections int     `json:"rawInsertConnections"`
	// Latency counts from when a message was to be sent to its first request
	// at the webhook; nil where it would tell how long the backlog was.
	Latency *Spread `json:"latency,omitempty"`
	// Lateness is how long after the promised time each second request came,
	// negative if too early; nil unless every message fails once.
	Lateness   *Spread `json:"retryLateness,omitempty"`
	FinalAfter Millis  `json:"finalAfterMilliseconds"` // from the last arrival until every state was final in Postgres
	// CPUPerMessage is in milliseconds, of everything that was started here:
	// servers, services, load and receiver.
	CPUPerMessage float64            `json:"cpuMillisecondsPerMessage"`
	CPU           map[string]float64 `json:"cpuSeconds"`      // by program
	PeakMemory    map[string]uint64  `json:"peakMemoryBytes"` // by program, of what each had at the same moment
	Repeated      int                `json:"repeated"`        // requests beyond those that were needed
	// Latencies and Samples are what plots are drawn from.
	Latencies []Bucket `json:"latencies,omitempty"`
	Samples   []Sample `json:"samples,omitempty"`
}

// Millis is a duration that JSON shows in milliseconds.
type Millis time.Duration

// MarshalJSON writes a number with a thousandth as its last digit.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(m).Round(time.Microsecond)) / float64(time.Millisecond))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Millis) UnmarshalJSON(data []byte) error {
	var millis float64
	if err := json.Unmarshal(data, &millis); err != nil {
		return err
	}
	*m = Millis(millis * float64(time.Millisecond))
	return nil
}

// Spread is how durations were distributed.
type Spread struct {
	Count int    `json:"count"`
	Least Millis `json:"leastMilliseconds"`
	P50   Millis `json:"p50Milliseconds"`
	P90   Millis `json:"p90Milliseconds"`
	P99   Millis `json:"p99Milliseconds"`
	Most  Millis `json:"mostMilliseconds"`
}

// spreadOf returns nil if there are none.
func spreadOf(sorted []time.Duration) *Spread {
	n := len(sorted)
	if n == 0 {
		return nil
	}
	at := func(percent int) Millis { return Millis(sorted[min(n*percent/100, n-1)]) }
	return &Spread{Count: n, Least: at(0), P50: at(50), P90: at(90), P99: at(99), Most: at(100)}
}
