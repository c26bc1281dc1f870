package dispatcher

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

const (
	// recoverWithin bounds a sweep's search for outcomes of what seems lost. What
	// it does not find by then is claimed again, as if it was not there.
	recoverWithin = 10 * time.Second
	// recoverMargin is how far before a message's last move the search begins.
	recoverMargin = time.Minute
)

// recover looks through EVENTS for outcomes of messages that have no copy. Their
// outcomes were recorded, as far as the recorder knows. If one is there all the
// same, Postgres has lost it, and the message would be sent again.
func (s *sweeper) recover(ctx context.Context, listed []db.ExpiredLease, gone map[db.Delivery]bool) {
	ctx, cancel := context.WithDeadline(ctx, s.search)
	defer cancel()
	restored, err := s.recordGone(ctx, listed, gone)
	if restored > 0 {
		s.log.Warn("Postgres had lost outcomes that events tell of", zap.Int("outcomes", restored))
		s.metrics.restored.WithLabelValues("outcome").Add(float64(restored))
		if _, noticed := s.store.ReportCommitsLost(context.WithoutCancel(ctx), true); noticed != nil {
			err = errors.Join(err, noticed)
		}
	}
	if err != nil {
		s.log.Warn("look for outcomes of messages that seem lost", zap.Error(err))
	}
}

func (s *sweeper) recordGone(ctx context.Context, listed []db.ExpiredLease, gone map[db.Delivery]bool) (restored int, err error) {
	var age time.Duration
	ids := map[string]bool{}
	for _, lost := range listed {
		if gone[db.Delivery{ID: lost.ID, ClaimNumber: lost.ClaimNumber}] {
			ids[lost.ID.String()] = true
			age = max(age, lost.Age)
		}
	}
	from, err := s.topology.FirstWithin(ctx, s.js, s.topology.EventsStream(), age+recoverMargin)
	if err != nil {
		return 0, err
	}
	err = s.topology.ReadEvents(ctx, s.js, outcomeKinds(), from, func(batch []jetstream.Msg) error {
		var theirs []jetstream.Msg
		for _, msg := range batch {
			id, _, _ := strings.Cut(msg.Headers().Get(jetstream.MsgIDHeader), ".")
			if ids[id] {
				theirs = append(theirs, msg)
			}
		}
		outcomes, _ := outcomesIn(theirs, math.MaxUint64)
		moved, err := recordAgain(ctx, s.store, outcomes, s.lease)
		restored += moved
		return err
	})
	return restored, err
}
