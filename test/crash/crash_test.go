package crash_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// parallelInstallations is how many installations there are at a time. They spend their
// time waiting: for leases, ack waits, and the age of outbox rows.
const parallelInstallations = 16

const (
	// maxRounds bounds how often something new is begun that passes the point.
	maxRounds = 10
	// shortQuiet is how long nothing is on its way before that.
	shortQuiet = 500 * time.Millisecond
)

func TestMain(m *testing.M) { testenv.Main(m, parallelInstallations) }

// scenario is a way by which a process passes a failpoint.
type scenario struct {
	point   failpoint.Point
	how     string            // tells the scenarios of a point apart
	victim  string            // ingest, dispatcher or sender
	passing string            // :n, the n-th passing of a life, and +d, the time that the process goes on then
	before  []failpoint.Point // deaths that lead there, of the same victim
	// repeats is how many POSTs a death leaves behind that are made again. It is
	// zero for every point that does not lie between the beginning of a POST and
	// the acknowledgement of its status event.
	repeats doubles

	redis, ownNATS bool
	settings       map[string]string
	prepare        func(*installation) // before each variant, with the victim down
	work           func(*installation) // has the victim pass the point, sooner or later; repeated until all deaths are died
	between        func(*installation) // while the victim is down
	after          func(*installation) // when all deaths are died
}

// doubles is how many requests are made twice.
type doubles struct{ least, most int }

func (s scenario) name() string {
	if s.how == "" {
		return string(s.point)
	}
	return string(s.point) + " " + s.how
}

// deaths is the plan for so many deaths in a row.
func (s scenario) deaths(times int) []string {
	var plan []string
	for _, point := range s.before {
		plan = append(plan, string(point))
	}
	for range times {
		plan = append(plan, string(s.point)+s.passing)
	}
	return plan
}

func TestEveryFailpointIsSurvived(t *testing.T) {
	t.Parallel()
	shared := servers{nats: testenv.StartNATS(t, 1, nil)[0].URL, redis: testenv.StartRedis(t).URL}
	for _, s := range scenarios() {
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			i := install(t, shared, s)
			repeats := doubles{}
			lives := []int{1, 2}
			if testing.Short() {
				lives = lives[:1] // make proof goes on
			}
			for _, times := range lives {
				repeats.least += times * s.repeats.least
				repeats.most += times * s.repeats.most
				i.times = times
				s.play(i)
				i.settle()
				i.checkHistory(repeats)
				i.victimOf(s).Kill()
			}
		})
	}
}

// play kills the victim as often as planned.
func (s scenario) play(i *installation) {
	i.t.Helper()
	if s.prepare != nil {
		s.prepare(i)
	}
	for _, service := range []*victim{i.ingest, i.dispatcher, i.sender} {
		if service.Name != s.victim && !service.away {
			service.Start()
		}
	}
	died := i.victimOf(s).superviseDeaths(s.deaths(i.times), func() {
		if s.repeats.most > 0 {
			now := time.Now()
			i.kills = append(i.kills, checker.Disturbance{What: checker.Kill, Target: s.victim, From: now, Until: now})
		}
		if s.between != nil {
			s.between(i)
		}
	})
	for range maxRounds {
		s.work(i)
		if i.finalOr(died) {
			if s.after != nil {
				s.after(i)
			}
			return
		}
		if i.t.Failed() {
			i.t.FailNow()
		}
	}
	i.t.Fatalf("nothing leads %s through %s", s.victim, s.point)
}

func (i *installation) victimOf(s scenario) *victim {
	return map[string]*victim{"ingest": i.ingest, "dispatcher": i.dispatcher, "sender": i.sender}[s.victim]
}

// finalOr waits until all deaths are died, or all has been at rest for so long
// that none is to be expected: then it is false.
func (i *installation) finalOr(died <-chan struct{}) bool {
	i.t.Helper()
	deadline := time.After(testenv.WaitTimeout)
	moved := time.Now()
	for {
		select {
		case <-died:
			return !i.t.Failed()
		case <-deadline:
			i.t.Fatalf("neither dead nor done within %s", testenv.WaitTimeout)
		case <-time.After(100 * time.Millisecond):
		}
		if !i.atRest() {
			moved = time.Now()
		}
		if i.t.Failed() || time.Since(moved) > max(i.quiet, shortQuiet) {
			return false
		}
	}
}

// atRest says whether nothing is on its way.
func (i *installation) atRest() bool {
	var open, boxed int
	err := i.pool.QueryRow(i.t.Context(), `SELECT
		(SELECT count(*) FROM messages WHERE status IN ('PENDING', 'QUEUED', 'RETRYING')),
		(SELECT count(*) FROM outbox)`).Scan(&open, &boxed)
	if err != nil || open > 0 || boxed > 0 {
		return false
	}
	for _, stream := range []string{i.top.DeliveriesStream(), i.top.IntakeStream()} {
		s, err := i.js.Stream(i.t.Context(), stream)
		if err != nil || s.CachedInfo().State.Msgs > 0 {
			return false
		}
	}
	return true
}

func TestEveryFailpointHasAScenario(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	reached := map[failpoint.Point]bool{}
	for _, s := range scenarios() {
		require.False(t, names[s.name()], "%s is there twice", s.name())
		names[s.name()], reached[s.point] = true, true
	}
	for _, step := range slices.Concat(provisionPoints(), importPoints()) {
		reached[step.point] = true
	}
	var missing []string
	for _, p := range points(t) {
		if !reached[failpoint.Point(p.name)] {
			missing = append(missing, p.name)
		}
		delete(reached, failpoint.Point(p.name))
	}
	require.Empty(t, missing)
	require.Empty(t, slices.Collect(maps.Keys(reached)), "no such point")
}
