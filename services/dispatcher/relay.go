package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/crash"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// relayAge is when an outbox row is abandoned: its owner may publish it
	// for publishWithin, and the margin covers what is on its way then.
	relayAge = publishWithin + time.Second
	// relayEvery is how often they are looked for, and relayBatch how many
	// are locked at once.
	relayEvery = time.Second
	relayBatch = 50
	// relayWithin is how long a batch may be published: Postgres ends the
	// transaction 5 s after its last statement. Rows go together up to so many
	// entries, few enough to be published in relayTogether also by a busy
	// server; when they fail, each is tried alone.
	relayWithin   = 4 * time.Second
	relayEntries  = 500
	relayTogether = 2500 * time.Millisecond
	relayAlone    = 400 * time.Millisecond
	// refusedFor is how long a row that can't be published is left alone.
	refusedFor = time.Minute
	// doubtAge is when a claim may have been published longer ago than the
	// stream remembers ids: then it is looked for before it is repeated.
	doubtAge = events.DeliveriesWindow / 2
	// lookAgain is for how long it is taken for true what was found then: with
	// it and a batch's time a claim is still younger than what the stream
	// remembers.
	lookAgain = 5 * time.Second
	// recorderWait bounds a wait for the recorder.
	recorderWait = 10 * time.Second
)

// relay publishes what others, or this process in an earlier life, have left
// in the outbox. It is safe for concurrent use.
type relay struct {
	store     *db.Store
	js        jetstream.JetStream
	topology  events.Topology
	publisher events.Publisher
	positions events.Positions
	lease     time.Duration
	metrics   *metrics
	log       *zap.Logger
	trouble   *trouble

	mu      sync.Mutex
	refused map[int64]time.Time // rows that can't be published, until when they are left alone
}

// Run relays until ctx ends.
func (r *relay) Run(ctx context.Context) error {
	for {
		if r.js.Conn().IsConnected() {
			r.trouble.is(r.Round(ctx))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(relayEvery)):
		}
	}
}

// Round relays everything that is abandoned now, batch by batch.
func (r *relay) Round(ctx context.Context) error {
	var errs []error
	var done emitted
	var looked time.Time
	for next := (step{more: true}); next.more && ctx.Err() == nil; {
		var err error
		if time.Since(looked) > lookAgain {
			looked = time.Now()
			if done, err = r.emitted(ctx); err != nil {
				errs = append(errs, fmt.Errorf("look for emissions of an old claim: %w", err))
			}
		}
		if next, err = r.batch(ctx, next.after, done); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// step is how far a round has come.
type step struct {
	after int64 // the last row that was dealt with
	more  bool
}

func (r *relay) batch(ctx context.Context, after int64, done emitted) (step, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*storeWait)
	defer cancel()
	var left *parcel
	var failure error
	params := db.RelayParams{Age: relayAge, After: after, Limit: relayBatch, Lease: r.lease}
	relayed, err := r.store.Relay(ctx, params, func(ctx context.Context, rows []db.Abandoned) (published []db.Published) {
		ctx, cancel := context.WithTimeout(ctx, relayWithin)
		defer cancel()
		crash.At(crash.RelayTaken)
		published, left, failure = r.publish(ctx, r.unpack(rows, done))
		crash.At(crash.RelayPublished)
		return published
	})
	switch {
	case err != nil:
		return step{}, err
	case left != nil: // time is up, or NATS is in trouble
		return step{after: left.ID - 1, more: relayed.Published > 0}, failure
	}
	return step{after: relayed.Last, more: relayed.Rows == relayBatch}, nil
}

// parcel is an outbox row, unpacked.
type parcel struct {
	db.Published
	isClaim bool
	entries []events.Entry
}

// unpack leaves out rows that can't be read, or not now.
func (r *relay) unpack(rows []db.Abandoned, done emitted) []parcel {
	parcels := make([]parcel, 0, len(rows))
	for _, row := range rows {
		if r.isRefused(row.ID) || done.skips(row) {
			continue
		}
		entries, err := events.Decode(row.Batch)
		if err != nil {
			r.log.Error("an outbox row can't be read and is left where it is", zap.Int64("outbox", row.ID), zap.Error(err))
			r.refuse(row.ID)
			continue
		}
		p := parcel{Published: db.Published{ID: row.ID}, isClaim: row.IsClaim, entries: entries}
		if row.IsClaim {
			p.entries, p.Emissions = relayed(entries, done)
		}
		parcels = append(parcels, p)
	}
	return parcels
}

// relayed marks emissions as not certainly the first of their claim, and
// leaves out those that were made before. All of them are returned besides.
func relayed(entries []events.Entry, done emitted) ([]events.Entry, []db.Emission) {
	var emissions []db.Emission
	kept := make([]events.Entry, 0, len(entries))
	for _, entry := range entries {
		emission, ok := emissionOf(entry)
		if !ok {
			kept = append(kept, entry)
			continue
		}
		emissions = append(emissions, emission)
		if done.claims[emission] {
			continue
		}
		entry.Headers[events.HeaderOrigin] = events.OriginRelay
		kept = append(kept, entry)
	}
	return kept, emissions
}

// emissionOf reads the id and the claim that an entry puts on the work queue.
func emissionOf(entry events.Entry) (db.Emission, bool) {
	if entry.Headers[events.HeaderClaim] == "" {
		return db.Emission{}, false
	}
	var body struct {
		ID    message.ID `json:"id"`
		Claim int64      `json:"claim"`
	}
	if json.Unmarshal(entry.Data, &body) != nil {
		return db.Emission{}, false
	}
	return db.Emission{ID: body.ID, Claim: body.Claim}, true
}

// publish publishes the rows in their order, and returns those that are
// published and the first that was not come to, with the failure that held up
// all of them, if one did. A row that can't be published holds up no other for
// long.
func (r *relay) publish(ctx context.Context, parcels []parcel) (published []db.Published, left *parcel, failure error) {
	var failed, held []parcel
	for len(parcels) > 0 && ctx.Err() == nil && r.js.Conn().IsConnected() {
		size, entries := 0, []events.Entry(nil)
		for size < len(parcels) && (size == 0 || len(entries)+len(parcels[size].entries) <= relayEntries) {
			entries = append(entries, parcels[size].entries...)
			size++
		}
		together, cancel := context.WithTimeout(ctx, relayTogether)
		err := r.publisher.Publish(together, entries)
		cancel()
		passed, refused := parcels[:size], []parcel(nil)
		if err != nil {
			failure = err
			passed, refused = r.publishAlone(ctx, parcels[:size])
		}
		published = append(published, r.published(passed)...)
		if events.Full(err) {
			held = append(held, refused...)
		} else {
			failed = append(failed, refused...)
		}
		parcels = parcels[size:]
	}
	switch {
	case len(published) > 0: // then it is the rows, not NATS
		r.refuseAll(failed)
	case len(failed) > 0:
		return nil, &failed[0], failure
	}
	if len(held) > 0 {
		return published, &held[0], failure
	}
	if len(published) > 0 {
		failure = nil
	}
	if len(parcels) > 0 {
		left = &parcels[0]
	}
	return published, left, failure
}

// publishAlone tries rows one by one, in any order, for as long as there is
// time.
func (r *relay) publishAlone(ctx context.Context, parcels []parcel) (passed, failed []parcel) {
	for _, i := range rand.Perm(len(parcels)) {
		if ctx.Err() != nil || !r.js.Conn().IsConnected() {
			break
		}
		alone, cancel := context.WithTimeout(ctx, relayAlone)
		err := r.publisher.Publish(alone, parcels[i].entries)
		cancel()
		if err == nil {
			passed = append(passed, parcels[i])
		} else {
			failed = append(failed, parcels[i])
		}
	}
	return passed, failed
}

func (r *relay) refuseAll(parcels []parcel) {
	for _, p := range parcels {
		if !p.isClaim { // everything waits for a claim: it is tried again at once
			r.log.Error("an outbox row can't be published and is left where it is", zap.Int64("outbox", p.ID))
			r.refuse(p.ID)
		}
	}
}

func (r *relay) published(parcels []parcel) []db.Published {
	published := make([]db.Published, len(parcels))
	for i, p := range parcels {
		published[i] = p.Published
		r.metrics.relayed(p.isClaim)
		if p.isClaim {
			r.log.Info("relayed a claim that its owner did not publish", zap.Int("messages", len(p.Emissions)))
		}
	}
	return published
}

func (r *relay) refuse(id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused[id] = time.Now().Add(refusedFor)
}

func (r *relay) isRefused(id int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, found := r.refused[id]
	if found && time.Now().After(until) {
		delete(r.refused, id)
		return false
	}
	return found
}
