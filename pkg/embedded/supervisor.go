package embedded

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// maxRestarts in a row are tried before a server is given up.
	maxRestarts = 5
	// settled is how long a server must have run for its end not to count as in a row.
	stableAfter = time.Minute
	// restartPause lets what killed the server pass by, and its port become free.
	restartPause = 200 * time.Millisecond
)

// running is a private server; *postgres.Server and *redis.Server are, and natsd's as a stoppable.
type running interface {
	Done() <-chan struct{}
	Err() error
	Stop(ctx context.Context) error
}

// supervisor starts a server again that ends by itself, as an out-of-memory kill makes it. Clients just
// reconnect: address, password and data are the same.
type supervisor struct {
	name   string
	logger *zap.Logger
	start  func(context.Context) (running, error)
	giveUp func(error)
	cancel context.CancelFunc
	ended  chan struct{}
	server running // owned by run until ended is closed
}

func supervise(name string, server running, logger *zap.Logger,
	start func(context.Context) (running, error), giveUp func(error),
) *supervisor {
	ctx, cancel := context.WithCancel(context.Background())
	k := &supervisor{
		name: name, server: server, logger: logger, start: start, giveUp: giveUp,
		cancel: cancel, ended: make(chan struct{}),
	}
	go k.run(ctx)
	return k
}

func (k *supervisor) run(ctx context.Context) {
	defer close(k.ended)
	restarts, since := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.server.Done():
		}
		if time.Since(since) > stableAfter {
			restarts = 0
		}
		err := k.server.Err()
		_ = k.server.Stop(ctx) // it has ended; this gives its directory free
		k.logger.Error(k.name+" ended, starting it again", zap.Error(err))
		for {
			if restarts++; restarts > maxRestarts {
				k.giveUp(err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartPause):
			}
			server, startErr := k.start(ctx)
			if startErr == nil {
				k.server = server
				break
			}
			err = startErr
		}
		since = time.Now()
		k.logger.Info(k.name + " runs again")
	}
}

// stop ends the keeping first, then the server.
func (k *supervisor) stop(ctx context.Context) error {
	k.cancel()
	<-k.ended
	return k.server.Stop(ctx)
}
