package cli

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

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
		var out, errOut embeddedtest.Output
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
