package events

import (
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ScheduledRetry returns the schedule that puts a message's id back on the delivery queue at
// its NextAttemptAt, by the NATS server's clock, under its claim number. A message has one
// schedule: publishing it again replaces it.
//
// The header is written by hand because jetstream.WithScheduleAt cuts the time to whole
// seconds, and so fires up to a second early.
func (c EventBuilder) ScheduledRetry(m message.Message) OutboxMessage {
	entry := c.Delivery(OriginRetry, m)
	entry.Headers[natsjs.ScheduleHeader] = "@at " + m.NextAttemptAt.UTC().Format(time.RFC3339Nano)
	entry.Headers[natsjs.ScheduleTargetHeader] = entry.Subject
	entry.Subject = c.topology.RetrySubject(m.Destination, m.ID)
	entry.MsgID += ".retry" // the emission of a reclaim under the same claim is another message
	return entry
}
