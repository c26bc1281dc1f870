package schedule

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// allowedIDs and allowedFor bound an allowance.
	allowedIDs = component.MaxQueued / 4
	allowedFor = time.Second
)

// allowance lets the continuous mode emit without measuring the work queue
// before each tick. The zero value allows nothing.
type allowance struct {
	ids   int
	until time.Time
}

// grant allows allowedIDs ids for allowedFor.
func (a *allowance) grant() { *a = allowance{ids: allowedIDs, until: time.Now().Add(allowedFor)} }

// revoke ends the allowance: the next turn measures again.
func (a *allowance) revoke() { *a = allowance{} }

// left returns how many ids are allowed now.
func (a *allowance) left() int {
	if !time.Now().Before(a.until) {
		a.revoke()
	}
	return a.ids
}

// use takes off what a tick has emitted. It revokes the allowance if anything
// prevented the tick. It also does so when little is left, because a small rest
// would make a small batch.
func (a *allowance) use(tick db.TickResult) {
	a.ids -= tick.Size()
	if !tick.Ran || tick.Interval > 0 || a.ids < allowedIDs/2 {
		a.revoke()
	}
}

// limit returns how many ids may be emitted now. That is none while DELIVERIES,
// which also holds scheduled retries, is full. With an interval the pace is the
// only other limit, and the questions just show whether JetStream responds.
func (t *Ticker) limit(ctx context.Context, pace db.Pace) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, component.NATSTimeout)
	defer cancel()
	queued, err := deliveries.Len(ctx, t.JS, message.DefaultDestination)
	if err != nil {
		return 0, err
	}
	t.metrics.queued.Set(float64(queued))
	filling, err := deliveries.MeasureFilling(ctx, t.JS)
	if err != nil || filling.Full() {
		return 0, err
	}
	if pace.Interval > 0 {
		return message.MaxBatchSize, nil
	}
	if queued < component.MaxQueued/2 {
		t.allowance.grant()
	}
	return component.MaxQueued - queued, nil
}
