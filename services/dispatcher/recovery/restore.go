package recovery

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recorder"
)

// restoreOutcomes records the outcomes in EVENTS again, from a sequence on. It
// returns how many messages they changed.
func (r *Repairer) restoreOutcomes(ctx context.Context, from uint64) (restored int, err error) {
	err = streams.ReadEvents(ctx, r.JS, recorder.OutcomeKinds(), from, func(batch []natsjs.Msg) error {
		outcomes, _ := recorder.Outcomes(batch, math.MaxUint64)
		changed, err := recorder.Restore(ctx, r.Base, outcomes)
		if err != nil {
			return err
		}
		restored += changed
		r.restored.WithLabelValues("outcome").Add(float64(changed))
		return r.renew(ctx)
	})
	return restored, err
}

// restoreCancels cancels messages again, as EVENTS says from a sequence on. A
// message that was claimed after its cancel was redriven by a user, and stays.
func (r *Repairer) restoreCancels(ctx context.Context, from uint64) (restored int, err error) {
	cancels, claimed := map[message.ID]db.CancelRecord{}, map[message.ID]int64{}
	kinds := []message.EventType{message.EventCancelled, message.EventQueued}
	err = streams.ReadEvents(ctx, r.JS, kinds, from, func(batch []natsjs.Msg) error {
		for _, msg := range batch {
			c, kind, ok := transitionOf(msg)
			switch {
			case !ok:
			case kind == message.EventQueued:
				claimed[c.ID] = max(claimed[c.ID], c.Version)
			case cancels[c.ID].Version < c.Version:
				cancels[c.ID] = c
			}
		}
		return r.renew(ctx)
	})
	list := make([]db.CancelRecord, 0, len(cancels))
	for id, c := range cancels {
		if claimed[id] < c.Version {
			list = append(list, c)
		}
	}
	if err != nil || len(list) == 0 {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, component.RecordTimeout)
	defer cancel()
	restored, err = r.Store.RestoreCancels(bounded, list)
	r.restored.WithLabelValues("cancel").Add(float64(restored))
	return restored, err
}

// transitionOf parses the id of an event about a transition that Postgres made:
// <message>.v<version>.<kind>.
func transitionOf(msg natsjs.Msg) (c db.CancelRecord, kind message.EventType, ok bool) {
	words := strings.Split(msg.Headers().Get(natsjs.MsgIDHeader), ".")
	meta, err := msg.Metadata()
	if len(words) != 3 || err != nil {
		return c, "", false
	}
	version, isVersion := strings.CutPrefix(words[1], "v")
	if c.ID, err = message.ParseID(words[0]); err != nil || !isVersion {
		return c, "", false
	}
	c.Version, err = strconv.ParseInt(version, 10, 64)
	c.At = meta.Timestamp
	return c, message.EventType(words[2]), err == nil
}

// restoreClaims gives messages the claims of their deliveries on the work queue.
func (r *Repairer) restoreClaims(ctx context.Context) (restored int, err error) {
	err = deliveries.ReadDeliveries(ctx, r.JS, func(found []deliveries.Queued) error {
		emitted := make([]db.Delivery, len(found))
		for i, e := range found {
			emitted[i] = db.Delivery(e)
		}
		for some := range slices.Chunk(emitted, r.Store.RestoreBatchSize(len(emitted))) {
			n, err := r.restoreClaimsOf(ctx, some)
			if err != nil {
				return err
			}
			restored += n
		}
		return r.renew(ctx)
	})
	return restored, err
}

// restoreClaimsOf restores the claims of some deliveries, and publishes that.
func (r *Repairer) restoreClaimsOf(ctx context.Context, emitted []db.Delivery) (int, error) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, component.PublishTimeout)
	defer cancel()
	restored, outboxID, err := r.Store.RestoreClaims(bounded, emitted, r.Lease, func(restored []message.Message) []byte {
		return events.EncodeOutbox(r.Builder.Transitions(message.EventQueued, restored))
	})
	if err != nil {
		return 0, err
	}
	r.outbox.Publish(ctx, began, outboxID, r.Builder.Transitions(message.EventQueued, restored))
	r.restored.WithLabelValues("claim").Add(float64(len(restored)))
	return len(restored), nil
}
