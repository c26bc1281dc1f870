package sender

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// recorderPatience is how long doubtful copies wait in hand for the recorder,
// and then out of hand, so that they don't fill it while the recorder is
// behind.
const recorderPatience = 2 * time.Second

// maxLoadRest bounds the rest between two loads, which is as long as the load
// took: under load each is for more copies then, and a lone one after a quiet
// time waits for nothing.
const maxLoadRest = 5 * time.Millisecond

// loadFresh lets copies through the gate that nobody can have had before.
func (s *sender) loadFresh(ctx context.Context) {
	for batch := gather(ctx, s.fresh); batch != nil; batch = gather(ctx, s.fresh) {
		began := time.Now()
		loaded := s.load(ctx, batch, s.store.LoadQueued, func(it *item, row message.Message, found bool) {
			if found && (row.ClaimNumber != it.Claim || row.Status != message.Queued) {
				it.First = false // a first copy finds its row as the tick left it, so this is none
				s.doubtful <- it
				return
			}
			s.gate(it, row, found)
		})
		if !loaded {
			return
		}
		pause(ctx, min(time.Since(began), maxLoadRest))
	}
}

// loadDoubtful lets copies through the gate that somebody may have had
// before: what became of them must be in Postgres first. One look at the
// recorder is enough for all that have come by then.
func (s *sender) loadDoubtful(ctx context.Context) {
	for batch := gather(ctx, s.doubtful); batch != nil; batch = gather(ctx, s.doubtful) {
		if batch = s.afterElders(ctx, batch); len(batch) == 0 {
			continue
		}
		if err := s.recorded(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Debug("recorder is behind", zap.String("error", service.Redact(err.Error())))
			for _, it := range batch {
				s.giveBack(it, recorderPatience, reasonRecorder)
			}
			continue
		}
		loaded := s.load(ctx, batch, s.store.LoadVerified, func(it *item, row message.Message, found bool) {
			if found && row.Status == message.Retrying && row.ClaimNumber == it.Claim+1 {
				s.overtaken(ctx, it, row)
				return
			}
			s.gate(it, row, found)
		})
		if !loaded {
			return
		}
	}
}

// overtaken ends a copy whose attempt is recorded, and whose retry is to come
// under the next claim. A sender that died between telling of the retry and
// parking it leaves such a copy as the last on its subject; then the retry is
// parked now, and does not wait for its lease.
func (s *sender) overtaken(ctx context.Context, it *item, row message.Message) {
	try, cancel := context.WithTimeout(ctx, publishTry)
	unparked, err := s.queue.Unparked(try, it.Copy, row.Destination)
	cancel()
	if err != nil {
		s.log.Debug("look for the schedule of a retry", zap.String("error", service.Redact(err.Error())))
		s.giveBack(it, recorderPatience, reasonOvertaken)
		return
	}
	if unparked {
		err := s.park(ctx, it, row)
		if ctx.Err() != nil {
			return // the drain gives the copy back
		}
		if err == nil {
			s.log.Info("parked a retry that its sender had only told of", zap.Stringer("message", it.ID))
		}
	}
	s.discard(it, reasonOvertaken)
}

// afterElders returns those items that have no older copy in this hand. The
// others come back once that one is finished.
func (s *sender) afterElders(ctx context.Context, batch []*item) []*item {
	var free []*item
	for _, it := range batch {
		if it.elder == nil {
			free = append(free, it)
			continue
		}
		go func() {
			select {
			case <-it.elder.gone:
				it.elder = nil
				s.doubtful <- it
			case <-ctx.Done():
			}
		}()
	}
	return free
}

// recorded returns once everything that EVENTS holds now is in Postgres.
func (s *sender) recorded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recorderPatience)
	defer cancel()
	last, err := s.positions.Last(ctx)
	if err != nil {
		return err
	}
	return s.positions.AwaitRecorded(ctx, last)
}

// What a sender holds of payloads: from payloadRoom on it loads nothing more
// until some are gone, and loadBytes is how much one query brings. A thousand
// requests with large payloads would take all memory there is.
const (
	payloadRoom  = 64 << 20
	loadBytes    = 8 << 20
	payloadPause = 5 * time.Millisecond
)

// load reads the rows of a batch and has judge see to each, found or not: all in
// one query unless their payloads are too much at once. While Postgres is away
// it tries again and again, and so while commits are lost that are not yet
// brought back; no new ids are pulled meanwhile. It is false when ctx ends first.
func (s *sender) load(ctx context.Context, batch []*item, from query, judge func(it *item, row message.Message, found bool)) bool {
	for len(batch) > 0 {
		for s.hand.payloads.Load() >= payloadRoom {
			if !pause(ctx, payloadPause) {
				return false
			}
		}
		queued, ok := s.ask(ctx, batch, from)
		if !ok {
			return false
		}
		var later []*item
		for _, it := range batch {
			if queued.Deferred[it.ID] {
				later = append(later, it)
				continue
			}
			row, found := queued.Messages[it.ID]
			judge(it, row, found)
		}
		batch = later
	}
	return true
}

// query reads rows; LoadQueued and LoadVerified of *db.Store are the two.
type query func(ctx context.Context, ids []message.ID, bytes int64) (db.LoadedMessages, error)

func (s *sender) ask(ctx context.Context, batch []*item, from query) (db.LoadedMessages, bool) {
	ids := make([]message.ID, len(batch))
	for i, it := range batch {
		ids[i] = it.ID
	}
	away := false
	var queued db.LoadedMessages
	err := service.WaitFor(ctx, s.log, "postgres", func(ctx context.Context) error {
		var err error
		queued, err = from(ctx, ids, loadBytes)
		if err != nil && !away {
			away = true
			s.postgresAway.begin()
		}
		return err
	})
	if away {
		s.postgresAway.end()
	}
	return queued, err == nil
}

// gate decides whether a copy is worth an attempt. found says that its row is
// QUEUED or RETRYING.
func (s *sender) gate(it *item, row message.Message, found bool) {
	switch {
	case !found:
		s.discard(it, reasonEnded)
		return
	case row.ClaimNumber > it.Claim:
		s.discard(it, reasonOvertaken)
		return
	case row.NextAttemptAt != nil && s.clock.Until(*row.NextAttemptAt) > 0:
		s.giveBack(it, s.clock.Until(*row.NextAttemptAt), reasonEarly)
		return
	case row.ClaimNumber < it.Claim:
		// The event that made this claim is lost: the recorder has passed
		// everything and does not know it. The copy itself is the proof that
		// the claim was made, and of an ended message there is none: it is
		// sent, and its outcome raises the row to the copy's claim.
		s.log.Warn("claim of a delivery was never recorded",
			zap.Stringer("message", it.ID), zap.Int64("claim", it.Claim), zap.Int64("recorded", row.ClaimNumber))
	}
	it.row = row
	it.payload.Store(int64(len(row.Payload)))
	s.hand.payloads.Add(int64(len(row.Payload)))
	failpoint.At(failpoint.SenderLoaded)
	s.ready <- it
}

// discard takes a copy off the queue that is worth nothing. Should the ack
// get lost, it comes once more and is discarded again.
func (s *sender) discard(it *item, why reason) {
	s.metrics.unsent.WithLabelValues(string(why)).Inc()
	failpoint.At(failpoint.SenderDropping)
	if err := it.Ack(); err != nil {
		s.log.Debug("discard delivery", zap.Error(err))
	}
	s.hand.drop(it)
}

// giveBack returns a copy to the queue for a while. When that fails, the
// server does it after the ack wait.
func (s *sender) giveBack(it *item, delay time.Duration, why reason) {
	s.metrics.unsent.WithLabelValues(string(why)).Inc()
	if err := it.Nak(delay); err != nil {
		s.log.Debug("give delivery back", zap.Error(fmt.Errorf("%s: %w", why, err)))
	}
	s.hand.drop(it)
}
