package sender

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

const (
	clockInterval = 5 * time.Second // between two questions
	clockTimeout  = 2 * time.Second
)

// clock shows the time of Postgres. A sender uses no other time for what it
// writes down or decides: when an attempt began, when the next one is due,
// whether a message has expired. Its own clock may be minutes off, and other
// senders use those times too.
type clock struct {
	jetstream.ClockSkew // of Postgres
	store               *db.Store
	queue               *deliveries.Receiver
}

// run asks for the time again and again until ctx ends.
func (c *clock) run(ctx context.Context) {
	for service.Sleep(ctx, clockInterval) {
		c.ask(ctx)
	}
}

// ask asks Postgres and NATS for the time once. Without an answer the previous
// difference stays.
func (c *clock) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	asked := time.Now()
	if theirs, err := c.store.Clock(ctx); err == nil {
		c.Measure(asked, theirs, time.Now())
	}
	_ = c.queue.Refresh(ctx) // the health check reports a NATS that is away
}

// onNATS is what the clock of NATS shows when that of Postgres shows t.
func (c *clock) onNATS(t time.Time) time.Time {
	return c.queue.Skew().Now().Add(c.Until(t))
}
