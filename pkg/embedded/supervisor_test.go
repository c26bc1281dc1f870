package embedded

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// shortLived is a server that ends by itself after a while.
type shortLived struct {
	done chan struct{}
	err  error
}

func newShortLived(life time.Duration) *shortLived {
	s := &shortLived{done: make(chan struct{}), err: errors.New("out of memory")}
	time.AfterFunc(life, func() { close(s.done) })
	return s
}

func (s *shortLived) Done() <-chan struct{}      { return s.done }
func (s *shortLived) Err() error                 { return s.err }
func (s *shortLived) Stop(context.Context) error { return nil }

func TestAServerThatKeepsDyingIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		started, gaveUp := 0, make(chan error, 1)
		s := supervise("server", newShortLived(time.Second), zap.NewNop(), func(context.Context) (managedServer, error) {
			started++
			return newShortLived(time.Second), nil
		}, func(err error) { gaveUp <- err })
		require.ErrorContains(t, <-gaveUp, "out of memory")
		require.NoError(t, s.stop(t.Context()))
		require.Equal(t, maxRestarts, started)
	})
}

func TestAServerThatDiesRarelyIsAlwaysRestarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		enough := make(chan struct{})
		started := 0
		s := supervise("server", newShortLived(2*stableAfter), zap.NewNop(), func(context.Context) (managedServer, error) {
			if started++; started == 3*maxRestarts {
				close(enough)
			}
			return newShortLived(2 * stableAfter), nil
		}, func(err error) { t.Error(err) })
		<-enough
		require.NoError(t, s.stop(t.Context()))
		synctest.Wait()
	})
}

func TestAServerThatCannotStartAgainIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reason, gaveUp := errors.New("the disk is full"), make(chan error, 1)
		s := supervise("server", newShortLived(time.Second), zap.NewNop(), func(context.Context) (managedServer, error) {
			return nil, reason
		}, func(err error) { gaveUp <- err })
		require.ErrorIs(t, <-gaveUp, reason)
		require.NoError(t, s.stop(t.Context()))
	})
}
