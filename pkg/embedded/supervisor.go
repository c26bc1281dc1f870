package embedded

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// maxRestarts is how many restarts in a row are tried before giving up.
	maxRestarts = 5
	// stableAfter is how long a server must have run for its next end to start a
	// new row of restarts.
	stableAfter = time.Minute
	// restartPause gives the cause of the end time to pass and the port time to
	// become free.
	restartPause = 200 * time.Millisecond
)

// managedServer is a server that can be supervised: *postgres.Server, *redis.Server
// and stoppable.
type managedServer interface {
	Done() <-chan struct{}
	Err() error
	Stop(ctx context.Context) error
}

// supervisor restarts a server that ends by itself, for example after an
// out-of-memory kill. Address, password and data stay the same, so clients just
// reconnect.
type supervisor struct {
	name   string
	logger *zap.Logger
	start  func(context.Context) (managedServer, error)
	giveUp func(error)
	cancel context.CancelFunc
	ended  chan struct{}
	server managedServer // owned by run until ended is closed
}

func supervise(name string, server managedServer, logger *zap.Logger,
	start func(context.Context) (managedServer, error), giveUp func(error),
) *supervisor {
	ctx, cancel := context.WithCancel(context.Background())
	s := &supervisor{
		name: name, server: server, logger: logger, start: start, giveUp: giveUp,
		cancel: cancel, ended: make(chan struct{}),
	}
	go s.run(ctx)
	return s
}

func (s *supervisor) run(ctx context.Context) {
	defer close(s.ended)
	restarts, since := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.server.Done():
		}
		if time.Since(since) > stableAfter {
			restarts = 0
		}
		err := s.server.Err()
		_ = s.server.Stop(ctx) // it has ended; Stop unlocks its directory
		s.logger.Error(s.name+" ended, restarting it", zap.Error(err))
		for {
			if restarts++; restarts > maxRestarts {
				s.giveUp(err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartPause):
			}
			server, startErr := s.start(ctx)
			if startErr == nil {
				s.server = server
				break
			}
			err = startErr
		}
		since = time.Now()
		s.logger.Info(s.name + " was restarted")
	}
}

// stop ends the supervision first, then the server.
func (s *supervisor) stop(ctx context.Context) error {
	s.cancel()
	<-s.ended
	return s.server.Stop(ctx)
}
