// Package deliveries works on the delivery queue: the ids that wait for a sender
// or are with one, and the schedules of their retries.
package deliveries

import (
	"context"
	"fmt"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// emitBelow is the part of DELIVERIES above which nothing more is emitted: each id
// that is there may need a schedule beside it, and the server, which can't refuse
// anything there, drops the oldest beyond the limit.
const (
	emitBelow = 2
	eighths   = 8
)

// Filling is how full DELIVERIES is.
type Filling struct {
	Bytes, Limit uint64 // Limit is 0 where there is none
}

// Full says that nothing more is to be emitted.
func (f Filling) Full() bool { return f.Limit > 0 && f.Bytes >= f.Limit/emitBelow }

// Overflows says that the server is about to drop what is there.
func (f Filling) Overflows() bool { return f.Limit > 0 && f.Bytes >= f.Limit-f.Limit/eighths }

// MeasureFilling returns how full DELIVERIES is.
func MeasureFilling(ctx context.Context, js *jetstream.Client) (Filling, error) {
	stream, err := js.Stream(ctx, js.DeliveriesStream())
	if err != nil {
		return Filling{}, fmt.Errorf("look up deliveries: %w", err)
	}
	info := stream.CachedInfo()
	return Filling{Bytes: info.State.Bytes, Limit: uint64(max(info.Config.MaxBytes, 0))}, nil
}

// Len returns how many ids wait for the senders of a destination or are with them.
func Len(ctx context.Context, js *jetstream.Client, destination string) (int, error) {
	consumer, err := js.Consumer(ctx, js.DeliveriesStream(), js.SenderConsumer(destination))
	if err != nil {
		return 0, fmt.Errorf("measure queue of %s: %w", destination, err)
	}
	info := consumer.CachedInfo()
	return int(info.NumPending) + info.NumAckPending, nil
}
