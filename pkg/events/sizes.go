package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Sizes are the bytes that each stream may hold. JetStream reserves them, once
// for each copy of a stream.
type Sizes struct{ Intake, Rejected, Deliveries, Events, Changes int64 }

// DefaultSizes fit three copies of every stream into an account of 5 GB.
var DefaultSizes = Sizes{Intake: 256 << 20, Rejected: 64 << 20, Deliveries: 256 << 20, Events: 512 << 20, Changes: 128 << 20}

// WithSizes returns the topology with streams of these sizes.
func (t Topology) WithSizes(sizes Sizes) Topology {
	t.sizes = sizes
	return t
}

// A stream is full for us before it is for the server. Above half of
// DELIVERIES nothing more is emitted: each id that is there may need a
// schedule beside it, and the server, which can't refuse anything there, drops
// the oldest beyond the limit. A size is lowered only if that leaves an eighth.
const (
	emitBelow   = 2
	shrinkAbove = 8
)

// Filling is how full DELIVERIES is.
type Filling struct {
	Bytes, Limit uint64 // Limit is 0 where there is none
}

// Full says that nothing more is to be emitted.
func (f Filling) Full() bool { return f.Limit > 0 && f.Bytes >= f.Limit/emitBelow }

// Overflows says that the server is about to drop what is there.
func (f Filling) Overflows() bool { return f.Limit > 0 && f.Bytes >= f.Limit-f.Limit/eighths }

// DeliveriesFilling looks at how full DELIVERIES is.
func (t Topology) DeliveriesFilling(ctx context.Context, js jetstream.JetStream) (Filling, error) {
	stream, err := js.Stream(ctx, t.DeliveriesStream())
	if err != nil {
		return Filling{}, fmt.Errorf("look up deliveries: %w", err)
	}
	info := stream.CachedInfo()
	return Filling{Bytes: info.State.Bytes, Limit: uint64(max(info.Config.MaxBytes, 0))}, nil
}

// ErrHoldsMore means that a stream holds more than it may hold from now on.
var ErrHoldsMore = errors.New("holds more than that")

// Resize is a change of a stream's size.
type Resize struct {
	Stream   string
	From, To int64  // bytes; From is 0 where there was no limit
	Bytes    uint64 // that it holds
}

// shrinks says that the stream may hold less than before.
func (r Resize) shrinks() bool { return r.From != r.To && (r.From == 0 || r.To < r.From) }

// refusal is ErrHoldsMore if the stream would lose something, or nearly.
func (r Resize) refusal() error {
	if !r.shrinks() || r.Bytes <= uint64(r.To-r.To/shrinkAbove) {
		return nil
	}
	return fmt.Errorf("stream %s is to hold at most %d MiB and has %d MiB: it %w; choose a larger size, or take something out (nats stream purge)",
		r.Stream, r.To>>20, r.Bytes>>20, ErrHoldsMore)
}

// Resizes lists the streams whose size Provision would change.
func (t Topology) Resizes(ctx context.Context, js jetstream.JetStream) ([]Resize, error) {
	plan, err := t.plan(ctx, js)
	if err != nil {
		return nil, err
	}
	var list []Resize
	for _, p := range plan {
		if p.exists && p.resize.From != p.resize.To && p.refusal == nil {
			list = append(list, p.resize)
		}
	}
	return list, nil
}

// planned is a stream that is to be made, or brought up to date.
type planned struct {
	config  jetstream.StreamConfig
	exists  bool
	resize  Resize
	refusal error // why it keeps the size that it has
}

// plan lists every stream, those first that get smaller: what they give back
// the others may need. One that holds too much to get smaller keeps its size.
func (t Topology) plan(ctx context.Context, js jetstream.JetStream) ([]planned, error) {
	var first, rest []planned
	for _, config := range t.Streams() {
		p := planned{config: config}
		stream, err := js.Stream(ctx, config.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return nil, fmt.Errorf("look up stream %s: %w", config.Name, err)
		default:
			info := stream.CachedInfo()
			p.exists = true
			p.resize = Resize{Stream: config.Name, From: max(info.Config.MaxBytes, 0), To: config.MaxBytes, Bytes: info.State.Bytes}
			if p.refusal = p.resize.refusal(); p.refusal != nil {
				p.config.MaxBytes = info.Config.MaxBytes
			}
		}
		if p.exists && p.resize.shrinks() {
			first = append(first, p)
		} else {
			rest = append(rest, p)
		}
	}
	return append(first, rest...), nil
}
