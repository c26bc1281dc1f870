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

// searchMargin is how long before a message's last transition the search begins.
const searchMargin = time.Minute

// RestoreOutcomesOf searches EVENTS for outcomes of messages that have expired
// leases and no delivery. The recorder has recorded everything, so each outcome
// that is found there was lost by Postgres. It is recorded again; otherwise the
// message would be sent again. Failures are logged only, because the search is
// an additional safeguard. It is safe for concurrent use with a repair.
func (r *Repairer) RestoreOutcomesOf(ctx context.Context, messages []db.ExpiredLease) {
	restored, err := r.searchOutcomes(ctx, messages)
	if restored > 0 {
		r.Log.Warn("restored outcomes that Postgres had lost", zap.Int("outcomes", restored))
		r.restored.WithLabelValues("outcome").Add(float64(restored))
		if _, reported := r.Store.ReportCommitsLost(context.WithoutCancel(ctx), true); reported != nil {
			err = errors.Join(err, reported)
		}
	}
	if err != nil {
		r.Log.Warn("search events for outcomes of messages that seem lost", zap.Error(err))
	}
}

func (r *Repairer) searchOutcomes(ctx context.Context, messages []db.ExpiredLease) (restored int, err error) {
	var age time.Duration
	ids := map[string]bool{}
	for _, m := range messages {
		ids[m.ID.String()] = true
		age = max(age, m.Age)
	}
	from, err := streams.FirstSince(ctx, r.JS, r.JS.EventsStream(), age+searchMargin)
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
		changed, err := recorder.Restore(ctx, r.Base, outcomes)
		restored += changed
		return err
	})
	return restored, err
}
