package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/reexec"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

const (
	waitTimeout  = 15 * time.Second
	pollInterval = 10 * time.Millisecond
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Role{
		// run starts a shell script. The second argument is a directory to remove at our death.
		"run": func(args []string) (string, error) {
			if len(args) > 1 {
				if _, err := process.RemoveAtDeath(args[1]); err != nil {
					return "", err
				}
			}
			p, err := process.Start(script(args[0], nil))
			if err != nil {
				return "", err
			}
			return strconv.Itoa(p.Pid()), nil
		},
		// descriptors returns which of the descriptors 3 to 9 are open in a child.
		"descriptors": func([]string) (string, error) {
			var out bytes.Buffer
			p, err := process.Start(script(`for n in 3 4 5 6 7 8 9; do
				if [ -e /dev/fd/$n ]; then echo $n; fi
			done`, &out))
			if err != nil {
				return "", err
			}
			<-p.Done()
			return "open:" + strings.Join(strings.Fields(out.String()), ","), nil
		},
	})
}

func script(text string, out *bytes.Buffer) process.Config {
	cfg := process.Config{
		Path: "/bin/sh", Args: []string{"-c", text}, Env: []string{"PATH=/usr/bin:/bin"},
		Grace: 500 * time.Millisecond,
	}
	if out != nil {
		cfg.Output = out
	}
	return cfg
}

// stubborn is a script that ignores all signals that can be ignored.
const stubborn = `trap '' TERM INT QUIT; : >"$UP"; while :; do sleep 0.05; done`

func TestStopLetsTheChildTidyUp(t *testing.T) {
	t.Parallel()
	up, tidy := filepath.Join(t.TempDir(), "up"), filepath.Join(t.TempDir(), "tidy")
	cfg := script(`trap ': >"$TIDY"; exit 0' TERM; : >"$UP"; while :; do sleep 0.05; done`, nil)
	cfg.Env = append(cfg.Env, "UP="+up, "TIDY="+tidy)
	cfg.Grace = waitTimeout
	p, err := process.Start(cfg)
	require.NoError(t, err)
	exists(t, up)

	require.NoError(t, p.Stop(t.Context()))
	require.FileExists(t, tidy)
	require.NoError(t, p.Err(), "an end that was asked for is no error")
	require.NoError(t, p.Stop(t.Context()), "a second Stop does no harm")
}

func TestStopKillsAfterTheGrace(t *testing.T) {
	t.Parallel()
	p := startStubborn(t, 300*time.Millisecond)
	require.ErrorContains(t, p.Stop(t.Context()), "killed")
	require.True(t, reexec.Gone(p.Pid()))
}

func TestStopKillsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	p := startStubborn(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, p.Stop(ctx), "killed")
	require.True(t, reexec.Gone(p.Pid()))
}

func startStubborn(t *testing.T, grace time.Duration) *process.Process {
	t.Helper()
	up := filepath.Join(t.TempDir(), "up")
	cfg := script(stubborn, nil)
	cfg.Env = append(cfg.Env, "UP="+up)
	cfg.Grace = grace
	p, err := process.Start(cfg)
	require.NoError(t, err)
	exists(t, up)
	return p
}

func TestAnEndOfItsOwnIsAnError(t *testing.T) {
	t.Parallel()
	for status := range 2 {
		var out bytes.Buffer
		p, err := process.Start(script(fmt.Sprintf("echo last words; exit %d", status), &out))
		require.NoError(t, err)
		<-p.Done()
		require.ErrorIs(t, p.Err(), process.ErrExited)
		require.ErrorContains(t, p.Err(), fmt.Sprintf("exit status %d", status))
		require.Equal(t, status, p.ExitCode())
		require.Equal(t, "last words\n", out.String())
		require.NoError(t, p.Stop(t.Context()))
	}
}

func TestAMissingProgramIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	_, err := process.Start(process.Config{Path: "/no/such/program"})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTheProgramDoesNotRunBeforeItIsAllowedTo(t *testing.T) {
	t.Parallel()
	ran := filepath.Join(t.TempDir(), "ran")
	cfg := script(`: >"$RAN"`, nil)
	cfg.Env = append(cfg.Env, "RAN="+ran)
	refusal := errors.New("no")
	var pid int
	cfg.BeforeRun = func(number int) error { pid = number; return refusal }
	_, err := process.Start(cfg)
	require.ErrorIs(t, err, refusal)
	require.True(t, reexec.Gone(pid))
	require.NoFileExists(t, ran)
}

func TestTheChildLeadsItsOwnProcessGroup(t *testing.T) {
	t.Parallel()
	p := startStubborn(t, time.Millisecond)
	group, err := syscall.Getpgid(p.Pid())
	require.NoError(t, err)
	require.Equal(t, p.Pid(), group, "Ctrl-C signals the terminal's process group")
	require.Error(t, p.Stop(t.Context()))
}

func TestTheChildInheritsNoDescriptors(t *testing.T) {
	t.Parallel()
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	parent := reexec.Start(t, nil, []*os.File{file, file, file}, "descriptors")
	require.Equal(t, "open:", parent.Line)
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"obedient": "while :; do sleep 0.05; done",
		"stubborn": "UP=/dev/null; " + stubborn,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			require.NoError(t, os.Mkdir(dir, 0o700))
			parent := reexec.Start(t, nil, nil, "run", text, dir)
			pid, err := strconv.Atoi(parent.Line)
			require.NoError(t, err, parent.Line)
			watchers := parent.Children("dispatch-watcher")
			require.Len(t, watchers, 2)
			require.False(t, reexec.Gone(pid))

			parent.Kill()
			for _, left := range append(watchers, pid) {
				require.Eventually(t, func() bool { return reexec.Gone(left) }, waitTimeout, pollInterval)
			}
			require.NoDirExists(t, dir)
		})
	}
}

func TestReleaseKeepsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	release, err := process.RemoveAtDeath(dir)
	require.NoError(t, err)
	release()
	require.DirExists(t, dir)
}

func TestAnUnreferencedWatcherStillWatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startStubborn(t, time.Hour)
	_, err := process.RemoveAtDeath(dir)
	require.NoError(t, err)
	runtime.GC()
	runtime.GC()
	require.Never(t, func() bool {
		_, err := os.Stat(dir)
		return err != nil || reexec.Gone(p.Pid())
	}, 300*time.Millisecond, pollInterval)
	p.Kill()
}

func exists(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, waitTimeout, pollInterval)
}
