package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is a named set of options.
type Scenario struct {
	Name, What string
	set        func(*Options)
}

// Scenarios are all that there are.
var Scenarios = []Scenario{
	{"saturate", "as many messages as the installation takes", func(*Options) {}},
	{"light", "50 messages a second: how long one takes", func(o *Options) { o.Rate, o.Messages, o.WarmUp = 50, 1000, 500 }},
	{"slow", "the webhook takes 50 ms; 512 requests in flight", func(o *Options) { o.Delay, o.Concurrency = 50*time.Millisecond, 512 }},
	{"failing", "every message fails once: how late its retry is", func(o *Options) { o.FailFirst = true }},
	{"backlog", "all messages are stored before the first is emitted", func(o *Options) { o.Backlog = true }},
}

// FindScenario returns the scenario of a name.
func FindScenario(name string) (Scenario, error) {
	at := slices.IndexFunc(Scenarios, func(s Scenario) bool { return s.Name == name })
	if at < 0 {
		return Scenario{}, fmt.Errorf("no scenario %q; see --help", name)
	}
	return Scenarios[at], nil
}

// Apply sets the options of the scenario.
func (s Scenario) Apply(o *Options) { s.set(o) }

// Limits of the options. A message's number has eight digits, and a first retry
// may not wait longer than the sender's own limit.
const (
	maxMessages  = 50_000_000
	maxRetryBase = time.Hour
)

// Validate reports the first option that is out of range, by the name of its flag.
func (o Options) Validate() error {
	if !slices.Contains(Loads, o.Load) {
		return fmt.Errorf("no load %q: %s", o.Load, strings.Join(Loads, ", "))
	}
	if o.Messages < 1 || o.Connections < 1 || o.Senders < 1 || o.Concurrency < 1 {
		return errors.New("--messages, --connections, --senders and --concurrency must be 1 or more")
	}
	if o.WarmUp < 0 || o.Stored < 0 || o.Rate < 0 || o.Delay < 0 {
		return errors.New("--warm-up, --stored, --rate and --delay must not be negative")
	}
	if max(o.Messages, o.WarmUp, o.Stored) > maxMessages {
		return fmt.Errorf("--messages, --warm-up and --stored must be %d or less", maxMessages)
	}
	if o.RetryBase < time.Millisecond || o.RetryBase > maxRetryBase {
		return fmt.Errorf("--retry-base must be from 1ms to %s", maxRetryBase)
	}
	return nil
}
