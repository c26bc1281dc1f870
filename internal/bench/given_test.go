package bench_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/shirou/gopsutil/v4/process"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// TestApart has each service be a process of its own, and kills the bench: no
// service outlives it, and what it left on the user's servers is told.
func TestApart(t *testing.T) {
	servers := giveServers(t)
	options := base(t)
	options.Servers, options.Apart, options.Senders = servers.env, true, 2
	var err error
	options.Program, err = os.Executable()
	require.NoError(t, err)
	result := measure(t, options, 1)[0]
	requireBooksBalance(t, options, result)
	for _, program := range []string{"ingest", "dispatcher", "sender 1", "sender 2", "load, receiver"} {
		require.Positive(t, result.PeakMemory[program], program)
		require.Contains(t, result.CPU, program)
	}
	servers.requireAsBefore(t)

	killed := exec.CommandContext(t.Context(), options.Program)
	killed.Env = append(os.Environ(), roleVariable+"="+options.Dir)
	for name, value := range servers.env {
		killed.Env = append(killed.Env, name+"="+value)
	}
	said, err := killed.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, killed.Start())
	line, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "measuring\n", line)
	services := descendants(t, killed.Process.Pid)
	require.GreaterOrEqual(t, len(services), 3)
	require.NoError(t, killed.Process.Kill())
	_ = killed.Wait() // the kill is the error
	for _, p := range services {
		require.Eventually(t, func() bool { return gone(p) }, patience, 20*time.Millisecond, "%v", p)
	}
	require.Eventually(t, func() bool {
		left, err := os.ReadDir(options.Dir)
		return err == nil && len(left) == 0
	}, patience, 20*time.Millisecond)

	left := servers.databases(t)
	require.Len(t, left, 1)
	var told notices
	options.Notice = told.add
	place, err := bench.Open(t.Context(), options)
	require.NoError(t, err)
	require.NoError(t, place.Close(t.Context()))
	require.Contains(t, told.String(), "left by a bench that was killed, unless one is at work: database "+left[0])
	servers.query(t, "DROP DATABASE "+left[0])
}

func descendants(t *testing.T, pid int) []*process.Process {
	t.Helper()
	var all []*process.Process
	children, err := (&process.Process{Pid: int32(pid)}).Children()
	require.True(t, err == nil || errors.Is(err, process.ErrorNoChildren), "%v", err)
	for _, child := range children {
		all = append(append(all, child), descendants(t, int(child.Pid))...)
	}
	return all
}

// gone tells whether a process has ended; one that nobody reaps has.
func gone(p *process.Process) bool {
	running, err := p.IsRunning()
	if err != nil || !running {
		return true
	}
	state, err := p.Status()
	return err != nil || state[0] == process.Zombie
}

// TestAnInterruptLeavesNothing interrupts a run in its middle.
func TestAnInterruptLeavesNothing(t *testing.T) {
	servers := giveServers(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	interrupt := errors.New("interrupted")
	options := base(t)
	options.Servers, options.Rate, options.Messages = servers.env, 20, 100_000
	options.Stored = 100
	options.Progress = func(what string, done, _ int) {
		if what == "delivered" && done > 0 {
			cancel(interrupt)
		}
	}
	place, err := bench.Open(ctx, options)
	require.NoError(t, err)
	_, err = place.Run(ctx)
	require.ErrorIs(t, err, interrupt)
	require.NoError(t, place.Close(ctx))
	servers.requireAsBefore(t)
}

// TestServersThatAreInTheWayAreNamed tells at once, and leaves nothing.
func TestServersThatAreInTheWayAreNamed(t *testing.T) {
	t.Parallel()
	servers := giveServers(t)
	with := func(name, value string) settings.Environment {
		env := maps.Clone(servers.env)
		env[name] = value
		return env
	}
	open := func(env settings.Environment) error {
		options := base(t)
		options.Servers = env
		place, err := bench.Open(t.Context(), options)
		if err != nil {
			return err
		}
		_, err = place.Run(t.Context())
		return errors.Join(err, place.Close(t.Context()))
	}

	var mistakes *settings.ValidationErrors
	require.ErrorAs(t, open(with("DATABASE_URL", "nowhere")), &mistakes)
	require.ErrorContains(t, open(with("REDIS_URL", "redis://127.0.0.1:1")), "reach Redis")
	require.ErrorContains(t, open(with("NATS_URL", "nats://127.0.0.1:1")), "connect to NATS")

	// The name is a role's alone in this server.
	role := fmt.Sprintf("nobody_%d", time.Now().UnixNano())
	servers.query(t, "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'")
	t.Cleanup(func() { servers.query(t, "DROP ROLE "+role) })
	u, err := url.Parse(servers.postgres)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")
	err = open(with("DATABASE_URL", u.String()))
	require.ErrorContains(t, err, `ALTER ROLE "`+role+`" CREATEDB`)
	require.NotContains(t, err.Error(), "left behind")

	other := giveServers(t)
	_, err = other.js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "GREEDY", Subjects: []string{"*.rejected.>"}, NoAck: true})
	require.NoError(t, err)
	err = open(with("NATS_URL", other.env["NATS_URL"]))
	require.ErrorContains(t, err, "create streams in NATS")
	var refused *natsjs.APIError
	require.ErrorAs(t, err, &refused, "it says what NATS says")
	require.ElementsMatch(t, []string{"DISPATCH_EVENTS", "GREEDY"}, other.streams(t))
}
