package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/internal/bench"
)

// scenario is a named set of options. Flags that are given win.
type scenario struct {
	name, what string
	set        func(*bench.Options)
}

var scenarios = []scenario{
	{"saturate", "as many as it takes", func(*bench.Options) {}},
	{"light", "50 messages a second: how long is one on its way", func(o *bench.Options) { o.Rate, o.Messages, o.WarmUp = 50, 1000, 500 }},
	{"slow", "the webhook takes 50 ms; 512 requests in flight", func(o *bench.Options) { o.Delay, o.Concurrency = 50*time.Millisecond, 512 }},
	{"failing", "every message fails once; how late is its retry", func(o *bench.Options) { o.FailFirst = true }},
	{"backlog", "all are stored before the first is emitted", func(o *bench.Options) { o.Backlog = true }},
}

// Bounds of what can be asked for: a message's number has eight digits, and a
// first retry may not wait longer than the sender's own limit.
const (
	maxBenchMessages = 50_000_000
	maxBenchBase     = time.Hour
)

// apply brings scenario and flags together, and finds every mistake in them.
func (b *benchmark) apply(changed func(flag string) bool) error {
	at := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == b.scenario })
	if at < 0 {
		return fmt.Errorf("no scenario %q; see --help", b.scenario)
	}
	o, given := &b.options, b.options
	scenarios[at].set(o)
	for flag, restore := range map[string]func(){
		"messages":    func() { o.Messages = given.Messages },
		"warm-up":     func() { o.WarmUp = given.WarmUp },
		"rate":        func() { o.Rate = given.Rate },
		"concurrency": func() { o.Concurrency = given.Concurrency },
		"delay":       func() { o.Delay = given.Delay },
	} {
		if changed(flag) {
			restore()
		}
	}
	if !slices.Contains(bench.Loads, o.Load) {
		return fmt.Errorf("no load %q: %s", o.Load, strings.Join(bench.Loads, ", "))
	}
	if b.runs < 1 || o.Messages < 1 || o.Connections < 1 || o.Senders < 1 || o.Concurrency < 1 {
		return errors.New("--runs, --messages, --connections, --senders and --concurrency must be 1 or more")
	}
	if o.WarmUp < 0 || o.Stored < 0 || o.Rate < 0 || o.Delay < 0 {
		return errors.New("--warm-up, --stored, --rate and --delay must not be negative")
	}
	if max(o.Messages, o.WarmUp) > maxBenchMessages || o.Stored > maxBenchMessages {
		return fmt.Errorf("--messages, --warm-up and --stored must be %d or less", maxBenchMessages)
	}
	if o.RetryBase < time.Millisecond || o.RetryBase > maxBenchBase {
		return fmt.Errorf("--retry-base must be from 1ms to %s", maxBenchBase)
	}
	return nil
}
