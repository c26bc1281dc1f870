package streams

import (
	"context"
	"errors"
	"sync"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// A page is read side by side: one message after the other would take a round
// trip each. It holds pageBytes at most, also if all of its messages are as
// large as NATS takes.
const (
	pageMessages = 32
	pageBytes    = 16 << 20
)

// pageReader reads a stream page by page, from its leader.
type pageReader struct {
	stream natsjs.Stream
	size   uint64 // sequences of a page
}

func newPageReader(stream natsjs.Stream, maxPayload int) pageReader {
	return pageReader{stream, uint64(min(max(pageBytes/max(maxPayload, 1), 1), pageMessages))}
}

// read returns what the stream holds from a sequence on, in order, up to the
// last one, and where the next page begins. A page can be empty.
func (p pageReader) read(ctx context.Context, from, last uint64) (page []*natsjs.RawStreamMsg, next uint64, err error) {
	next = min(from+p.size, last+1)
	page, err = p.readAll(ctx, from, next)
	if err != nil || len(page) > 0 || next > last {
		return page, next, err
	}
	// Nothing there: the next message may be far away.
	msg, err := p.stream.GetMsg(ctx, next, natsjs.WithGetMsgSubject(">"))
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return nil, last + 1, nil
	}
	if err != nil {
		return nil, from, err
	}
	return nil, msg.Sequence, nil
}

func (p pageReader) readAll(ctx context.Context, from, before uint64) ([]*natsjs.RawStreamMsg, error) {
	found := make([]*natsjs.RawStreamMsg, before-from)
	errs := make([]error, before-from)
	var reading sync.WaitGroup
	for i := range found {
		reading.Go(func() { found[i], errs[i] = p.stream.GetMsg(ctx, from+uint64(i)) })
	}
	reading.Wait()
	page := found[:0]
	for i, msg := range found {
		switch {
		case errors.Is(errs[i], natsjs.ErrMsgNotFound):
		case errs[i] != nil:
			return nil, errs[i]
		default:
			page = append(page, msg)
		}
	}
	return page, nil
}
