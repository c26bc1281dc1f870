package recovery

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recorder"
)

// recoverMargin is how far before a message's last move the search begins.
const recoverMargin = time.Minute

// RecordGone looks through EVENTS for outcomes of messages that have no copy. Their
// outcomes were recorded, as far as the recorder knows. If one is there all the
// same, Postgres has lost it, and the message would be sent again.
func (r *Repairer) RecordGone(ctx context.Context, listed []db.ExpiredLease, gone map[db.Delivery]bool) {
	restored, err := r.recordGone(ctx, listed, gone)
	if restored > 0 {
		r.Log.Warn("Postgres had lost outcomes that events tell of", zap.Int("outcomes", restored))
		r.restored.WithLabelValues("outcome").Add(float64(restored))
		if _, noticed := r.Store.ReportCommitsLost(context.WithoutCancel(ctx), true); noticed != nil {
			err = errors.Join(err, noticed)
		}
	}
	if err != nil {
		r.Log.Warn("look for outcomes of messages that seem lost", zap.Error(err))
	}
}

func (r *Repairer) recordGone(ctx context.Context, listed []db.ExpiredLease, gone map[db.Delivery]bool) (restored int, err error) {
	var age time.Duration
	ids := map[string]bool{}
	for _, lost := range listed {
		if gone[db.Delivery{ID: lost.ID, ClaimNumber: lost.ClaimNumber}] {
			ids[lost.ID.String()] = true
			age = max(age, lost.Age)
		}
	}
	from, err := streams.FirstWithin(ctx, r.JS, r.Topology.EventsStream(), age+recoverMargin)
	if err != nil {
		return 0, err
	}
	err = streams.ReadEvents(ctx, r.JS, recorder.OutcomeKinds(), from, func(batch []natsjs.Msg) error {
		var theirs []natsjs.Msg
		for _, msg := range batch {
			id, _, _ := strings.Cut(msg.Headers().Get(natsjs.MsgIDHeader), ".")
			if ids[id] {
				theirs = append(theirs, msg)
			}
		}
		outcomes, _ := recorder.Outcomes(theirs, math.MaxUint64)
		moved, err := recorder.RecordAgain(ctx, r.Store, outcomes, r.Lease)
		restored += moved
		return err
	})
	return restored, err
}
