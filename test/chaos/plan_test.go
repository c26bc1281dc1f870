package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A step of a plan is one disturbance, by the plan's own clock.
type step struct {
	at, until time.Duration
	what      string // a word of checker's, or stop
	target    string
	other     string        // of a fault
	detail    string        // of a fault
	fault     testenv.Fault // of a fault that lasts
}

const stop = "stop the messaging"

func (s step) String() string {
	text := fmt.Sprintf("%7.2fs  %s %s", s.at.Seconds(), s.what, s.target)
	if s.other != "" {
		text += " → " + s.other + ": " + s.detail
	}
	return fmt.Sprintf("%s for %.2fs", text, (s.until - s.at).Seconds())
}

const (
	ingests, dispatchers, senders = 2, 3, 3
	longest                       = 20 * time.Second // of a freeze or a cut
)

// names lists the services, then the servers.
func names() (services, servers []string) {
	services = append(services, numbered("ingest", ingests)...)
	services = append(services, numbered("dispatcher", dispatchers)...)
	services = append(services, numbered("sender", senders)...)
	return services, []string{"nats", "postgres", "redis"}
}

func numbered(name string, count int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%d", name, i+1)
	}
	return list
}

// proxied lists the two ends of every proxy.
func proxied() [][2]string {
	list := [][2]string{{"client", "ingest-1"}, {"client", "ingest-2"}, {"client", "nats"}}
	services, _ := names()
	for _, service := range services {
		list = append(list, [2]string{service, "postgres"}, [2]string{service, "nats"})
		switch {
		case strings.HasPrefix(service, "dispatcher"):
			list = append(list, [2]string{service, "redis"})
		case strings.HasPrefix(service, "sender"):
			list = append(list, [2]string{service, "webhook"})
		}
	}
	return list
}

// plan draws the disturbances of a seed. It is a pure function: the same seed
// and duration give the same list.
func plan(seed uint64, duration time.Duration) []step {
	p := planner{random: rand.New(rand.NewPCG(seed, 2)), busy: map[string]time.Duration{}}
	var steps []step
	for at := 3 * time.Second; at < duration-2*time.Second; at += p.between(300*time.Millisecond, 3*time.Second) {
		s := p.draw(at)
		s.until = min(s.until, duration)
		key := s.target + s.other
		if p.busy[key] > at {
			continue // it is still broken
		}
		p.busy[key] = s.until
		steps = append(steps, s)
	}
	return steps
}

type planner struct {
	random *rand.Rand
	busy   map[string]time.Duration
}

func (p planner) between(least, most time.Duration) time.Duration {
	return least + time.Duration(p.random.Int64N(int64(most-least)))
}

// short is mostly short, and now and then as long as it may be.
func (p planner) short(most time.Duration) time.Duration {
	part := p.random.Float64()
	return 200*time.Millisecond + time.Duration(part*part*float64(most))
}

func (p planner) draw(at time.Duration) step {
	services, servers := names()
	target := services[p.random.IntN(len(services))]
	if p.random.IntN(4) == 0 {
		target = servers[p.random.IntN(len(servers))]
	}
	switch n := p.random.IntN(20); {
	case n < 7:
		return step{at: at, until: at + p.short(4*time.Second), what: checker.Kill, target: target}
	case n < 11:
		return step{at: at, until: at + p.short(longest), what: checker.Freeze, target: target}
	case n < 13:
		return step{at: at, until: at + p.short(2*time.Second), what: checker.Terminate, target: target}
	case n < 14:
		return step{at: at, until: at + p.between(time.Second, 6*time.Second), what: stop}
	default:
		return p.breakProxy(at)
	}
}

func (p planner) breakProxy(at time.Duration) step {
	all := proxied()
	way := all[p.random.IntN(len(all))]
	s := step{at: at, until: at + p.short(longest), what: checker.Fault, target: way[0], other: way[1]}
	up, down := p.random.IntN(3) != 0, p.random.IntN(3) != 0
	if !up && !down {
		up, down = true, true
	}
	both := func(flow testenv.Flow) testenv.Fault {
		var fault testenv.Fault
		if up {
			fault.Up = flow
		}
		if down {
			fault.Down = flow
		}
		return fault
	}
	switch p.random.IntN(9) {
	case 0:
		s.detail, s.until = "reset", at+100*time.Millisecond
	case 1:
		s.detail, s.until = "half-close up", at+100*time.Millisecond
	case 2:
		s.detail, s.until = "half-close down", at+100*time.Millisecond
	case 3:
		s.detail, s.fault = "refuse", testenv.Fault{Refuse: true}
	case 4:
		delay := p.between(10*time.Millisecond, 500*time.Millisecond)
		s.detail, s.fault = fmt.Sprintf("delay %s, up %t, down %t", delay.Round(time.Millisecond), up, down), both(testenv.Flow{Delay: delay})
	case 5:
		size := 1 + p.random.IntN(200)
		s.detail, s.fault = fmt.Sprintf("slices of %d, up %t, down %t", size, up, down), both(testenv.Flow{Slice: size, Delay: time.Millisecond})
	case 6:
		limit := 1 + p.random.IntN(20_000)
		s.detail, s.fault = fmt.Sprintf("break after %d bytes, up %t, down %t", limit, up, down), both(testenv.Flow{Limit: limit})
	case 7:
		rate := 500 + p.random.IntN(20_000)
		s.detail, s.fault = fmt.Sprintf("%d bytes/s, up %t, down %t", rate, up, down), both(testenv.Flow{Rate: rate})
	default:
		s.detail, s.fault = fmt.Sprintf("cut, up %t, down %t", up, down), both(testenv.Flow{Stall: true})
	}
	return s
}

func TestASeedReproducesItsPlan(t *testing.T) {
	t.Parallel()
	once, again := plan(7, 10*time.Minute), plan(7, 10*time.Minute)
	require.Equal(t, once, again)
	require.NotEqual(t, plan(7, 10*time.Minute), plan(8, 10*time.Minute))

	whats, targets := map[string]int{}, map[string]int{}
	for _, s := range plan(7, 2*time.Hour) {
		whats[s.what]++
		targets[s.target+s.other]++
		require.Less(t, s.at, s.until)
	}
	require.Len(t, whats, 5, "all that can be done is done")
	services, servers := names()
	require.Len(t, targets, len(services)+len(servers)+len(proxied())+1, "to all of them")
}
