package backpressure

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnOutageIsOverWhenEveryWorkerSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o Outage
		require.True(t, o.Wait(t.Context()))
		require.True(t, o.Begin())
		require.False(t, o.Begin())
		over := false
		go func() { over = o.Wait(t.Context()) }()
		require.False(t, o.End())
		synctest.Wait()
		require.False(t, over)
		require.True(t, o.End())
		synctest.Wait()
		require.True(t, over)
	})
}

func TestHealthShowsAnOutageThatLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o Outage
		o.Begin()
		require.Empty(t, o.Status("away").Detail)
		time.Sleep(outageGrace) // of the bubble
		require.Equal(t, "away", o.Status("away").Detail)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, o.Wait(ctx))
		o.End()
		require.Empty(t, o.Status("away").Detail)
	})
}
