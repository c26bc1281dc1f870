package streams

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// shrinkAbove: a size is lowered only if that leaves an eighth of it.
const shrinkAbove = 8

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
		r.Stream, r.To>>20, r.Bytes>>20, jetstream.ErrHoldsMore)
}

// Resizes lists the streams whose size Provision would change.
func Resizes(ctx context.Context, js *jetstream.Client) ([]Resize, error) {
	plan, err := plan(ctx, js)
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
	config  natsjs.StreamConfig
	exists  bool
	resize  Resize
	refusal error // why it keeps the size that it has
}

// plan lists every stream, those first that get smaller: what they give back
// the others may need. One that holds too much to get smaller keeps its size.
func plan(ctx context.Context, js *jetstream.Client) ([]planned, error) {
	var first, rest []planned
	for _, config := range js.Streams() {
		p := planned{config: config}
		stream, err := js.Stream(ctx, config.Name)
		switch {
		case errors.Is(err, natsjs.ErrStreamNotFound):
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
