package events_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// batchOf is so many messages as a claim finds them.
func batchOf(n int) []message.Message {
	now := time.Now().UTC()
	batch := make([]message.Message, n)
	for i := range batch {
		batch[i] = message.Message{
			ID: message.NewID(now), To: "+905551111111", Content: "Your parcel " + strconv.Itoa(i) + " is on its way.",
			Destination: message.DefaultDestination, Priority: message.DefaultPriority, Status: message.Queued,
			DeliverAt: now, CreatedAt: now, UpdatedAt: now, QueuedAt: &now, ClaimNumber: 1, Version: 2,
		}
	}
	return batch
}

func dispatchBuilder() events.EventBuilder {
	return events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
}

// BenchmarkMoved composes and encodes the events of a move.
func BenchmarkMoved(b *testing.B) {
	builder := dispatchBuilder()
	for _, n := range []int{1, 100} {
		batch := batchOf(n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				builder.Transitions(message.EventCreated, batch)
			}
		})
	}
}

// BenchmarkFinished composes and encodes the event of a sender's outcome.
func BenchmarkFinished(b *testing.B) {
	builder, m := dispatchBuilder(), batchOf(1)[0]
	outcome := events.Outcome{ClaimNumber: 1, NextClaimNumber: 1, Delivery: 1, Attempt: &message.Attempt{
		Number: 1, StartedAt: m.CreatedAt, Duration: 1234 * time.Microsecond, Outcome: message.OutcomeSuccess,
		HTTPStatus: 202, Response: `{"messageId":"accepted"}`,
	}}
	b.ReportAllocs()
	for b.Loop() {
		builder.Outcome(message.EventSent, m, outcome)
	}
}

// BenchmarkOutbox packs and unpacks what a claim publishes.
func BenchmarkOutbox(b *testing.B) {
	for _, n := range []int{1, 100} {
		entries := dispatchBuilder().Claims(events.OriginTick, batchOf(n))
		packed := events.EncodeOutbox(entries)
		b.Run("encode/"+strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				events.EncodeOutbox(entries)
			}
			b.ReportMetric(float64(len(packed)), "packed-B")
		})
		b.Run("decode/"+strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := events.DecodeOutbox(packed)
				require.NoError(b, err)
			}
		})
	}
}
