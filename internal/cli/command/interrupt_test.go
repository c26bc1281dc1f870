package command

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

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
		err := Run(ctx, root, []string{"stuck"})
		late = time.Since(began)
		require.ErrorIs(t, err, errStuck)
		require.Equal(t, endWait, late)
		require.NotErrorIs(t, err, context.Canceled)
	})
}
