package bench

import (
	"context"
	"math"
	"time"
)

// sampleEvery is how often a run is looked at, and familyEvery after how many
// looks new processes are searched for.
const (
	sampleEvery = 250 * time.Millisecond
	familyEvery = 8
)

// Sample is how things stood at one moment of a run.
type Sample struct {
	At        float64            `json:"at"`        // seconds since the first message was put in
	Delivered int                `json:"delivered"` // messages that had arrived
	CPU       map[string]float64 `json:"cpu"`       // cores in use since the sample before, by program
	Memory    map[string]uint64  `json:"memory"`    // bytes, by program
}

// meter looks at a run until it is stopped.
type meter struct {
	run     *run
	began   time.Time
	before  usage
	cancel  context.CancelFunc
	samples chan []Sample
}

func (r *run) startMeter(ctx context.Context) *meter {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{run: r, before: r.findFamily().usage(), cancel: cancel, samples: make(chan []Sample, 1)}
	m.began = time.Now()
	go func() { m.samples <- m.watch(ctx) }()
	return m
}

// stop puts into the result what was seen. CPUPerMessage is that of all
// messages yet, in seconds.
func (m *meter) stop(result *Result) {
	m.cancel()
	result.Samples = <-m.samples
	after := m.run.findFamily().usage()
	result.CPU, result.PeakMemory = map[string]float64{}, map[string]uint64{}
	for name, seconds := range after.cpu {
		result.CPU[name] = seconds - m.before.cpu[name]
		result.CPUPerMessage += result.CPU[name]
	}
	for _, s := range append(result.Samples, Sample{Memory: after.memory}) {
		for name, bytes := range s.Memory {
			result.PeakMemory[name] = max(result.PeakMemory[name], bytes)
		}
	}
}

// watch samples until ctx ends. The first sample stands for the beginning.
func (m *meter) watch(ctx context.Context) []Sample {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	processes := m.run.findFamily()
	last, lastAt := m.before, m.began
	samples := []Sample{{CPU: map[string]float64{}, Memory: last.memory}}
	for {
		select {
		case <-ctx.Done():
			return samples
		case <-ticks.C:
		}
		if time.Since(lastAt) < sampleEvery/2 {
			continue // a tick that had to wait for the look before; so short a time tells nothing
		}
		if len(samples)%familyEvery == 0 {
			processes = m.run.findFamily()
		}
		now, at := processes.usage(), time.Now()
		s := Sample{At: at.Sub(m.began).Seconds(), Delivered: m.run.receiver.count(), CPU: map[string]float64{}, Memory: now.memory}
		for name, seconds := range now.cpu {
			s.CPU[name] = max(seconds-last.cpu[name], 0) / at.Sub(lastAt).Seconds()
		}
		samples = append(samples, s)
		last, lastAt = now, at
	}
}

// Bucket is a range of latencies and how many messages were in it.
type Bucket struct {
	UpTo  float64 `json:"upTo"` // milliseconds
	Count int     `json:"count"`
}

// bucketsADecade is how fine the histogram is: each bucket reaches a quarter
// further than the one before.
const bucketsADecade = 10

// histogram sorts latencies into buckets of equal ratio, without the empty
// ones at either end.
func histogram(sorted []time.Duration) []Bucket {
	var buckets []Bucket
	if len(sorted) == 0 {
		return buckets
	}
	edge := func(step int) float64 { return math.Pow(10, float64(step)/bucketsADecade) }
	millis := func(d time.Duration) float64 { return max(float64(d)/float64(time.Millisecond), 0.001) }
	step := int(math.Ceil(math.Log10(millis(sorted[0])) * bucketsADecade))
	for at := 0; at < len(sorted); step++ {
		b := Bucket{UpTo: edge(step)}
		for at < len(sorted) && millis(sorted[at]) <= b.UpTo {
			b.Count++
			at++
		}
		buckets = append(buckets, b)
	}
	return buckets
}
