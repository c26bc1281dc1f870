package sender

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// recorderWait is how long unverified deliveries wait for the recorder while
// they are held, and then how long they wait on the queue. So they don't fill
// the sender while the recorder is behind.
const recorderWait = 2 * time.Second

// verifyStage makes sure that Postgres knows what became of deliveries that
// another sender may have had before.
type verifyStage struct {
	log        *zap.Logger
	recorder   jetstream.RecorderProgress
	release    releaser
	unverified chan *delivery
}

// run returns the deliveries that can be judged now. One look at the recorder
// is enough for all that have arrived by then. Deliveries that nobody can have
// had before pass at once.
func (s *verifyStage) run(ctx context.Context, batch []*delivery) []*delivery {
	if !batch[0].Unverified() {
		return batch
	}
	batch = s.withoutPredecessors(ctx, batch)
	if len(batch) == 0 {
		return nil
	}
	if err := s.awaitRecorder(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // the drain returns them
		}
		s.log.Debug("recorder is behind", zap.String("error", redact.Text(err.Error())))
		for _, d := range batch {
			s.release.giveBack(d.Entry, recorderWait, reasonRecorderBehind)
		}
		return nil
	}
	for _, d := range batch {
		d.verified = true
	}
	return batch
}

// withoutPredecessors returns the deliveries whose id this sender does not
// hold by an older delivery. The others come back once that one is settled.
func (s *verifyStage) withoutPredecessors(ctx context.Context, batch []*delivery) []*delivery {
	var free []*delivery
	for _, d := range batch {
		if !d.HasPredecessor() {
			free = append(free, d)
			continue
		}
		go func() {
			if d.AwaitPredecessor(ctx) {
				d.First = false
				s.unverified <- d
			}
		}()
	}
	return free
}

// awaitRecorder returns once everything that EVENTS holds now is in Postgres.
func (s *verifyStage) awaitRecorder(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recorderWait)
	defer cancel()
	last, err := s.recorder.LastEvent(ctx)
	if err != nil {
		return err
	}
	return s.recorder.AwaitRecorded(ctx, last)
}
