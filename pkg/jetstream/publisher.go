package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
)

// Full reports whether err says that JetStream has no room: a stream at its
// limit, an account or a server at theirs. What was to be published is not at
// fault.
func Full(err error) bool {
	var refused *natsjs.APIError
	return errors.As(err, &refused) && refused.Code == http.StatusServiceUnavailable
}

// refused reports whether repeating a publish is of no use. That another message
// came first on a subject may change.
func refused(err error) bool {
	var api *natsjs.APIError
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrInvalidMsg):
		return true
	case errors.As(err, &api):
		return api.Code == http.StatusBadRequest && !overtakenBy(api.ErrorCode)
	}
	return false
}

// overtakenBy reports whether a code says that a subject does not end where the
// publisher expects it to (see Entry.After). The second one stands for a message
// that a cluster is still agreeing on.
func overtakenBy(code natsjs.ErrorCode) bool {
	const stillAgreeing = 10164
	return code == natsjs.JSErrCodeStreamWrongLastSequence || code == stillAgreeing
}

// RequestTimeout bounds one publish: one that dies with its server is never
// answered.
const RequestTimeout = 2 * time.Second

// publishPause lies between two rounds, so that a server which refuses at
// once is not hammered.
const publishPause = 100 * time.Millisecond

// Publisher publishes entries. It is safe for concurrent use.
type Publisher struct {
	js *Client
	nc *nats.Conn
}

// NewPublisher returns a Publisher over a connection.
func NewPublisher(js *Client) Publisher {
	return Publisher{js: js, nc: js.Conn()}
}

// Publish publishes the entries in order and returns when every one is
// acknowledged. It tries each for 2 s, again and again until ctx ends, and
// then returns ErrUnavailable; entries may have been stored all the same.
// Without a connection it returns ErrUnavailable at once. An entry that NATS
// refuses holds up no other: those are published, and the error is ErrRefused.
// An event that is too large goes out without its content (see lighter).
func (p Publisher) Publish(ctx context.Context, entries []events.OutboxMessage) error {
	_, err := p.PublishSome(ctx, entries)
	return err
}

// PublishSome is Publish that tells which entries an error is about: those
// that were not acknowledged.
func (p Publisher) PublishSome(ctx context.Context, entries []events.OutboxMessage) (missing []events.OutboxMessage, err error) {
	return p.publish(ctx, entries, func([]*pendingPublish) bool { return false })
}

// PublishIDs is PublishSome that does not wait for events once every id is
// acknowledged: the pace waits for ids, and for nothing else.
func (p Publisher) PublishIDs(ctx context.Context, entries []events.OutboxMessage) (missing []events.OutboxMessage, err error) {
	return p.publish(ctx, entries, func(missing []*pendingPublish) bool {
		return !slices.ContainsFunc(missing, func(o *pendingPublish) bool { return o.entry.IsDelivery() })
	})
}

// publish goes on until nothing is missing, what is missing is enough, or ctx
// ends.
func (p Publisher) publish(ctx context.Context, entries []events.OutboxMessage, enough func(missing []*pendingPublish) bool) ([]events.OutboxMessage, error) {
	all := make([]pendingPublish, len(entries))
	missing := make([]*pendingPublish, len(entries))
	for i, entry := range entries {
		all[i].entry, missing[i] = entry, &all[i]
	}
	for {
		if !p.nc.IsConnected() {
			return given(missing), fmt.Errorf("publish %d entries: %w", len(missing), ErrUnavailable)
		}
		p.publishOnce(ctx, missing)
		missing = slices.DeleteFunc(missing, func(o *pendingPublish) bool { return o.stored })
		if len(missing) == 0 {
			return nil, nil
		}
		hopeless := !slices.ContainsFunc(missing, func(o *pendingPublish) bool { return !o.refused })
		if hopeless || enough(missing) {
			return given(missing), failure(missing)
		}
		select {
		case <-ctx.Done():
			return given(missing), failure(missing)
		case <-time.After(publishPause):
		}
	}
}

// pendingPublish is an entry on its way.
type pendingPublish struct {
	entry   events.OutboxMessage // as it was given
	weight  events.Reduction
	stored  bool
	refused bool
	err     error // of the last try; a refusal says more than that time was up
}

func (o *pendingPublish) failed(err error) {
	if o.err == nil || !errors.Is(err, context.DeadlineExceeded) {
		o.err = err
	}
	if !refused(err) {
		return
	}
	if tooLarge(err) && o.weight < events.Smallest {
		o.weight++ // NATS may take it without
		return
	}
	o.refused = true
}

// tooLarge reports whether an error says that a message is larger than its
// server or its stream takes.
func tooLarge(err error) bool {
	const largerThanTheStreamTakes = 10054
	var api *natsjs.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && api.ErrorCode == largerThanTheStreamTakes
}

func given(missing []*pendingPublish) []events.OutboxMessage {
	entries := make([]events.OutboxMessage, len(missing))
	for i, o := range missing {
		entries[i] = o.entry
	}
	return entries
}

// failure tells why entries are missing. That NATS is away matters more than
// that it refuses something.
func failure(missing []*pendingPublish) error {
	kind, cause := ErrRefused, missing[0].err
	for _, o := range missing {
		if !o.refused {
			kind, cause = ErrUnavailable, o.err
		}
	}
	return fmt.Errorf("publish %d entries: %w: %w", len(missing), kind, cause)
}

// publishOnce tries every entry once, and notes what came of it.
func (p Publisher) publishOnce(whole context.Context, entries []*pendingPublish) {
	ctx, cancel := context.WithTimeout(whole, RequestTimeout)
	defer cancel()
	futures := make([]natsjs.PubAckFuture, len(entries))
	for i, o := range entries {
		if o.refused {
			continue
		}
		if passed(whole) || passed(ctx) {
			o.failed(context.DeadlineExceeded)
			continue
		}
		future, err := p.js.PublishMsgAsync(o.msg(p.nc.MaxPayload()))
		if err != nil {
			o.failed(err)
			continue
		}
		futures[i] = future
		failpoint.At(failpoint.PublishPartSent)
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		select {
		case <-future.Ok():
			entries[i].stored = true
			failpoint.At(failpoint.PublishPartAcked)
		case err := <-future.Err():
			entries[i].failed(err)
		case <-ctx.Done():
			entries[i].failed(ctx.Err())
		}
	}
}

// msg is the entry as light as it has to be for NATS to take it.
func (o *pendingPublish) msg(limit int64) *nats.Msg {
	entry := o.entry.Reduced(o.weight)
	for limit > 0 && entry.Size() > limit && o.weight < events.Smallest {
		o.weight++
		entry = o.entry.Reduced(o.weight)
	}
	return NewMsg(entry)
}

// NewMsg is the message of an entry.
func NewMsg(e events.OutboxMessage) *nats.Msg {
	header := make(nats.Header, len(e.Headers)+1)
	header[nats.MsgIdHdr] = []string{e.MsgID}
	for name, value := range e.Headers {
		header[name] = []string{value}
	}
	return &nats.Msg{Subject: e.Subject, Header: header, Data: e.Data}
}
