package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// lookAtOnce is from how many emissions on the rest of the claims waits for
	// the next batch: each is a question to the stream. lookTogether is how many
	// are asked at a time.
	lookAtOnce   = 1000
	lookTogether = 16
	// lookWithin bounds the look.
	lookWithin = 10 * time.Second
	// unreadableFor is how long a claim that can't be read is left to others: a
	// newer release may have written it.
	unreadableFor = time.Minute
)

// A relayed claim gets a new claim number. The order of the steps is what keeps
// a second request from being made beside one that is in flight:
//
//  1. look which of its ids are on the work queue: those were published, by an
//     owner or a relay that could not say so to Postgres, and are left alone;
//  2. wait until the recorder has passed what EVENTS holds: a delivery that was
//     published and is gone has left its outcome there;
//  3. raise the number of the others, in one transaction with what the outbox
//     holds: the gate drops a late original from here on, however late it comes;
//  4. publish the new number, unless the subject has changed since step 1: a
//     delivery that arrived between 1 and 3 may be with a sender, so the new one
//     waits until it is gone;
//  5. end the claim.
//
// A relay that dies is followed by another, which begins at 1 and takes a number
// of its own.
func (r *Relay) claimsOnce(ctx context.Context) (progress bool, err error) {
	abandoned, err := r.Store.AbandonedClaims(ctx, AbandonedAfter, relayBatch)
	if err != nil || len(abandoned) == 0 {
		return false, err
	}
	claims, emissions, unreadable := r.read(abandoned)
	if len(unreadable) > 0 {
		if err := r.Store.FinishRelayedClaims(ctx, unreadable); err != nil {
			return false, err
		}
		progress = true
	}
	if len(claims) == 0 {
		return progress, nil
	}
	look, err := r.look(ctx, emissions)
	if err != nil {
		return false, err
	}
	failpoint.At(failpoint.RelayChecked)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), component.PublishTimeout+2*component.StoreTimeout) // the end of a process leaves no half
	defer cancel()
	taken, err := r.Store.TakeOverClaims(ctx, claims, db.TakeOverParams{
		Age: AbandonedAfter, Lease: r.Lease, Unpublished: look.absent(emissions), Rewrite: look.rewrite,
	})
	if err != nil {
		return false, err
	}
	failpoint.At(failpoint.RelayRaised)
	return true, r.publishClaims(ctx, began, taken, look)
}

// emission is an id that a claim is to put on the work queue, or has put there.
type emission struct {
	db.Delivery
	subject string
	relayed bool // a relay has given it its number
}

// read unpacks claims, up to so many emissions. One that can't be read would
// hold up the pace for ever: after a while it is ended, and what it holds is
// kept. Its messages come back with their lease.
func (r *Relay) read(abandoned []db.OpenClaim) (claims []db.OpenClaim, emissions []emission, unreadable []db.FinishedClaim) {
	for _, claim := range abandoned {
		batch, err := events.Decode(claim.Batch)
		if err != nil {
			if claim.Age > unreadableFor {
				r.Log.Error("a claim can't be read and is given up; its messages come back with their lease",
					zap.Int64("outbox", claim.OutboxID), zap.Error(err))
				unreadable = append(unreadable, db.FinishedClaim{OutboxID: claim.OutboxID, Relays: claim.Relays, Rest: claim.Batch})
			}
			continue
		}
		if len(emissions) > 0 && len(emissions)+len(batch) > lookAtOnce {
			break
		}
		claims = append(claims, claim)
		for _, entry := range batch {
			if e, ok := emissionOf(entry); ok {
				emissions = append(emissions, e)
			}
		}
	}
	return claims, emissions, unreadable
}

// emissionOf reads the id and the claim that an entry puts on the work queue.
func emissionOf(entry events.Entry) (emission, bool) {
	if !entry.IsID() {
		return emission{}, false
	}
	var body struct {
		ID    message.ID          `json:"id"`
		Claim message.ClaimNumber `json:"claim"`
	}
	if json.Unmarshal(entry.Data, &body) != nil {
		return emission{}, false
	}
	return emission{
		Delivery: db.Delivery{ID: body.ID, ClaimNumber: body.Claim}, subject: entry.Subject,
		relayed: entry.Headers[events.HeaderOrigin] == events.OriginRelay,
	}, true
}

// place is what a look finds of an emission.
type place int

const (
	// absent: it is not on the work queue. It was never published, or it is over.
	absent place = iota
	// present: it was published.
	present
	// occupied: the delivery under the number before may be with a sender. The
	// new one waits for the end of that.
	occupied
)

// looked is what a relay has found on the work queue.
type looked struct {
	places map[db.Delivery]place
	last   map[db.Delivery]uint64 // on the subjects; 0: nothing
}

func (l looked) absent(emissions []emission) []db.Delivery {
	var list []db.Delivery
	for _, e := range emissions {
		if l.places[e.Delivery] == absent {
			list = append(list, e.Delivery)
		}
	}
	return list
}

// rewrite makes of what a claim was to publish what is to be published now.
// An id that is neither raised nor occupied is done with: it was published, or
// its message is over.
func (l looked) rewrite(batch []byte, raised map[message.ID]message.ClaimNumber) db.RewrittenClaim {
	entries, err := events.Decode(batch)
	if err != nil {
		return db.RewrittenClaim{Batch: batch} // it was read a moment ago
	}
	var now db.RewrittenClaim
	kept := make([]events.Entry, 0, len(entries))
	for _, entry := range entries {
		e, ok := emissionOf(entry)
		if !ok {
			kept = append(kept, entry)
			continue
		}
		now.Size++
		claim, again := raised[e.ID]
		switch {
		case l.places[e.Delivery] == occupied:
			kept = append(kept, entry)
		case again:
			kept = append(kept, entry.Again(e.ID, claim, l.last[e.Delivery]))
		default:
			continue
		}
		now.IDs++
	}
	if len(kept) > 0 {
		now.Batch = events.Encode(kept)
	}
	return now
}

// look asks the stream for each emission, and then waits for the recorder.
func (r *Relay) look(ctx context.Context, emissions []emission) (looked, error) {
	found := looked{places: map[db.Delivery]place{}, last: map[db.Delivery]uint64{}}
	asking, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	deliveries, err := r.JS.Stream(asking, r.Topology.DeliveriesStream())
	if err != nil {
		return looked{}, fmt.Errorf("look up deliveries: %w", err)
	}
	delivered, err := r.delivered(asking, deliveries)
	if err != nil {
		return looked{}, err
	}
	var (
		mu      sync.Mutex
		failed  error
		working sync.WaitGroup
		next    = make(chan emission)
	)
	for range min(lookTogether, len(emissions)) {
		working.Go(func() {
			for e := range next {
				msg, err := deliveries.GetLastMsgForSubject(asking, e.subject)
				mu.Lock()
				switch {
				case err == nil:
					found.places[e.Delivery], found.last[e.Delivery] = e.judge(msg, delivered), msg.Sequence
				case !errors.Is(err, natsjs.ErrMsgNotFound):
					failed = fmt.Errorf("look for a delivery on %s: %w", e.subject, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, e := range emissions {
		next <- e
	}
	close(next)
	working.Wait()
	if failed != nil {
		return looked{}, failed
	}
	recorded, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	return found, component.AwaitAllRecorded(recorded, r.Positions)
}

// judge says where an emission is, by the last message on its subject. Up to
// delivered, messages have been given to senders.
func (e emission) judge(msg *natsjs.RawStreamMsg, delivered uint64) place {
	claim, err := message.ParseClaimNumber(msg.Header.Get(events.HeaderClaim))
	switch {
	case err == nil && claim >= e.ClaimNumber:
		return present
	case e.relayed && msg.Sequence <= delivered:
		// The number was raised while this one was on its way, or with a sender:
		// the gate drops it, or it has passed the gate before.
		return occupied
	}
	return absent // what is there is older than the claim, or nobody has had it: it is replaced
}

// delivered is the last message that was given to a sender.
func (r *Relay) delivered(ctx context.Context, deliveries natsjs.Stream) (uint64, error) {
	consumer, err := deliveries.Consumer(ctx, r.Topology.SenderConsumer(message.DefaultDestination))
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the senders: %w", err)
	}
	return consumer.CachedInfo().Delivered.Stream, nil
}

// publishClaims publishes what was taken, and ends the claims whose ids are all
// out. What is left of the others is for the next relay.
func (r *Relay) publishClaims(ctx context.Context, began time.Time, taken []db.OpenClaim, look looked) error {
	publishing, cancel := context.WithDeadline(ctx, began.Add(component.PublishTimeout))
	defer cancel()
	var all []events.Entry
	claims := make([]claimParcel, len(taken))
	for i, claim := range taken {
		claims[i] = look.parcel(claim)
		all = append(all, claims[i].entries...)
	}
	missing, err := r.Publisher.PublishIDs(publishing, all)
	failpoint.At(failpoint.RelayPublished)
	var ended []db.FinishedClaim
	for _, claim := range claims {
		rest := left(claim.entries, missing)
		if claim.waits || len(only(rest, events.Entry.IsID)) > 0 {
			continue
		}
		e := db.FinishedClaim{OutboxID: claim.OutboxID, Relays: claim.Relays, Size: claim.ids}
		if len(rest) > 0 {
			e.Rest = events.Encode(rest)
		}
		ended = append(ended, e)
		r.metrics.relayed.WithLabelValues(kindClaim).Inc()
		r.Log.Info("relayed a claim that its owner did not publish", zap.Int("messages", claim.ids))
	}
	if failed := r.Store.FinishRelayedClaims(ctx, ended); failed != nil {
		return failed
	}
	if len(only(missing, events.Entry.IsID)) > 0 {
		return err
	}
	return nil
}

// claimParcel is a claim, unpacked.
type claimParcel struct {
	db.OpenClaim
	entries []events.Entry // to publish now
	ids     int
	waits   bool // an id has to wait; the events come with the last one
}

func (l looked) parcel(claim db.OpenClaim) claimParcel {
	p := claimParcel{OpenClaim: claim}
	batch, err := events.Decode(claim.Batch)
	if err != nil {
		p.waits = true // it was written a moment ago
		return p
	}
	var others []events.Entry
	for _, entry := range batch {
		e, ok := emissionOf(entry)
		switch {
		case !ok:
			others = append(others, entry)
		case l.places[e.Delivery] == occupied:
			p.waits = true
		default:
			p.entries = append(p.entries, entry)
			p.ids++
		}
	}
	if !p.waits {
		p.entries = append(p.entries, others...)
	}
	return p
}
