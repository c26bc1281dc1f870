package sender

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Every time that a sender writes down or goes by is Postgres': when an
// attempt began, when the next one is due, whether a message has expired. Its
// own clock may be minutes off, and other senders go by those times.

const (
	timeEvery = 5 * time.Second // between two questions for the time
	timeWait  = 2 * time.Second // for an answer
)

// keepTime asks Postgres and NATS for the time again and again until ctx ends.
func (s *sender) keepTime(ctx context.Context) {
	for pause(ctx, timeEvery) {
		s.tellTime(ctx)
	}
}

// tellTime asks once. What can't be asked keeps the difference that it had.
func (s *sender) tellTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeWait)
	defer cancel()
	asked := time.Now()
	if told, err := s.store.Clock(ctx); err == nil {
		s.clock.Measure(asked, told, time.Now())
	}
	_ = s.queue.Refresh(ctx) // the health check tells of a NATS that is away
}

// schedule is the schedule of a retry. It is NATS that keeps it, by its clock.
func (s *sender) schedule(m message.Message) events.Entry {
	due := s.queue.Skew().Now().Add(s.clock.Until(*m.NextAttemptAt))
	m.NextAttemptAt = &due
	return s.composer.Parked(m)
}
