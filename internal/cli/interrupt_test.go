package cli

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// Since PostgreSQL 15 a role may create nothing in the schema public unless it
// is told so. Whatever makes the schema says that, and ends.
func TestWhatMakesTheSchemaSaysThatItMayNot(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"DATABASE_URL": dbtest.PlainLogin(t, dbtest.EmptyURL(t)), "NATS_LISTEN": freeAddr(t), "HTTP_ADDR": freeAddr(t),
		"LOG_LEVEL": "error", "LOG_FORMAT": "json",
	}
	for name, args := range map[string][]string{
		"provision": {"provision"}, "migrate": {"migrate", "up"}, "up": {"up", "--data", embeddedtest.Dir(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			process := testenv.Process(t, env, args...)
			require.Eventually(t, process.Ended, patience, pause)
			require.Equal(t, 1, process.Wait(), "%s", process.Output)
			require.Contains(t, process.Output.String(), "GRANT CREATE ON SCHEMA public TO plain")
		})
	}
}

// One SIGTERM ends a provision that waits for a lock, and one that waits for
// NATS.
func TestASignalEndsAProvision(t *testing.T) {
	t.Parallel()
	process := testenv.Process(t, map[string]string{
		"DATABASE_URL": dbtest.URL(t), "NATS_URL": "nats://" + freeAddr(t), "LOG_LEVEL": "warn", "LOG_FORMAT": "json",
	}, "provision")
	require.Eventually(t, func() bool { return strings.Contains(process.Output.String(), "waiting for streams") }, patience, pause)
	require.NoError(t, process.Signal(syscall.SIGTERM))
	require.Eventually(t, process.Ended, patience, pause)
	require.Equal(t, 0, process.Wait(), "%s", process.Output)
}

// Nobody writes to the pipe: the command ends all the same.
func TestASignalEndsACommandThatWaitsForItsInput(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"send", "--file", "-", "--url", unused},
		{"send", "--file", "-", "--format", "csv", "--url", unused},
		{"send", "+905551111111", "--payload", "-", "--url", unused},
	} {
		in, writer := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var out, errOut output
		code := make(chan int)
		go func() { code <- Execute(ctx, args, in, &out, &errOut) }()
		_, err := writer.Write([]byte("to")) // it reads
		require.NoError(t, err)
		cancel()
		require.NotZero(t, <-code, args)
		require.Contains(t, errOut.String(), "interrupted", args)
		require.NoError(t, writer.Close())
	}
}

func TestACommandThatDoesNotEndIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var late time.Duration
		stuck := &cobra.Command{Use: "stuck", RunE: func(cmd *cobra.Command, _ []string) error {
			<-release // as a write to a pipe does that nobody reads
			return nil
		}}
		root := &cobra.Command{Use: "dispatch"}
		root.AddCommand(stuck)
		root.SetArgs([]string{"stuck"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := run(ctx, root, []string{"stuck"})
		late = time.Since(began)
		require.ErrorIs(t, err, errStuck)
		require.Equal(t, endWait, late)
		require.NotErrorIs(t, err, context.Canceled)
	})
}
