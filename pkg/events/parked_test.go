package events_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAParkedMessageComesBackUnderItsClaim(t *testing.T) {
	t.Parallel()
	topology := events.NewTopology("dispatch", 1)
	next := time.Date(2026, 3, 1, 12, 0, 0, 123_456_000, time.FixedZone("", 3600))
	m := message.Message{
		ID: message.NewID(next), Destination: "default", ClaimNumber: 4, NextAttemptAt: &next,
		Trace: message.Trace{Parent: "00-trace", State: "a=1"},
	}
	builder := events.NewEventBuilder(topology, false)

	entry := builder.ScheduledRetry(m)
	require.Equal(t, topology.RetrySubject("default", m.ID), entry.Subject)
	require.Equal(t, map[string]string{
		"Nats-Schedule":        "@at 2026-03-01T11:00:00.123456Z",
		"Nats-Schedule-Target": topology.DeliverSubject("default", m.ID),
		events.HeaderClaim:     "4",
		events.HeaderOrigin:    events.OriginRetry,
		"traceparent":          "00-trace",
		"tracestate":           "a=1",
	}, entry.Headers)
	require.JSONEq(t, `{"id":"`+m.ID.String()+`","claim":4}`, string(entry.Data))
	require.NotEqual(t, builder.Delivery(events.OriginReclaim, m).MsgID, entry.MsgID,
		"a reclaim under the same number must not count as its repeat")
	m.Trace = message.Trace{}
	require.NotContains(t, builder.ScheduledRetry(m).Headers, "traceparent")
}
