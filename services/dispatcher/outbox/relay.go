package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// AbandonedAfter is when an outbox row is abandoned: its owner may publish it
	// for PublishTimeout, and the margin covers what is on its way then.
	AbandonedAfter = component.PublishTimeout + time.Second
	// relayEvery is how often they are looked for, and relayBatch how many
	// are taken at once.
	relayEvery = time.Second
	relayBatch = 50
	// relayWithin is how long a batch of events may be published: Postgres ends
	// the transaction 5 s after its last statement. Rows go together up to so
	// many entries, few enough to be published in relayTogether also by a busy
	// server.
	relayWithin   = 4 * time.Second
	relayEntries  = 500
	relayTogether = 2500 * time.Millisecond
	// refusedFor is how long a row that can't be published is left alone.
	refusedFor = time.Minute
)

// Relay publishes what others, or this process in an earlier life, have left
// in the outbox. It is safe for concurrent use.
type Relay struct {
	component.Base
	metrics *relayMetrics
	trouble *service.FailureTracker
}

// NewRelay returns one that is ready to run.
func NewRelay(base component.Base) *Relay {
	return &Relay{Base: base, metrics: newRelayMetrics(base), trouble: base.Watch("relay", service.StateDown, "relay")}
}

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	for {
		if r.JS.Conn().IsConnected() {
			r.trouble.Report(r.Round(ctx))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(relayEvery)):
		}
	}
}

// Round relays everything that is abandoned now. Claims come first: the pace
// waits for them.
func (r *Relay) Round(ctx context.Context) error {
	return errors.Join(r.claims(ctx), r.events(ctx))
}

// events relays rows of events, batch by batch.
func (r *Relay) events(ctx context.Context) error {
	for next := (step{more: true}); next.more && ctx.Err() == nil; {
		var err error
		if next, err = r.batch(ctx, next.after); err != nil {
			return err
		}
	}
	return nil
}

// step is how far a round has come.
type step struct {
	after int64 // the last row that was dealt with
	more  bool
}

func (r *Relay) batch(ctx context.Context, after int64) (step, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*component.StoreTimeout)
	defer cancel()
	var done relayedEvents
	var cut int64
	params := db.RelayParams{Age: AbandonedAfter, MaxRetryAfter: refusedFor, After: after, Limit: relayBatch}
	relayed, err := r.Store.Relay(ctx, params, func(ctx context.Context, rows []db.OutboxRow) []db.RelayResult {
		ctx, cancel := context.WithTimeout(ctx, relayWithin)
		defer cancel()
		failpoint.At(failpoint.RelayLocked)
		rows, cut = together(rows)
		done = r.publish(ctx, r.unpack(rows))
		failpoint.At(failpoint.RelayPublished)
		return done.rests
	})
	switch {
	case err != nil:
		return step{}, err
	case done.failure != nil:
		return step{}, done.failure
	case done.left != 0: // time is up
		return step{after: done.left - 1, more: true}, nil
	}
	if cut != 0 {
		return step{after: cut - 1, more: true}, nil
	}
	return step{after: relayed.Last, more: relayed.More}, nil
}

// relayUnpacked is from how many unpacked bytes on rows wait for the next batch:
// what is packed to a twentieth is small in the database alone.
const relayUnpacked = 16 << 20

// together cuts off what would be too much at once, and returns the first row of
// that, 0 for none.
func together(rows []db.OutboxRow) (some []db.OutboxRow, cut int64) {
	size := 0
	for i, row := range rows {
		if size >= relayUnpacked {
			return rows[:i], row.ID
		}
		size += events.DecodedSize(row.Batch)
	}
	return rows, 0
}

// parcel is an outbox row, unpacked.
type parcel struct {
	id      int64
	entries []events.Entry
	broken  []byte // the batch, if it can't be read
}

func (r *Relay) unpack(rows []db.OutboxRow) []parcel {
	parcels := make([]parcel, len(rows))
	for i, row := range rows {
		entries, err := events.Decode(row.Batch)
		parcels[i] = parcel{id: row.ID, entries: entries}
		if err != nil {
			r.Log.Error("an outbox row can't be read and is left where it is", zap.Int64("outbox", row.ID), zap.Error(err))
			parcels[i].broken = row.Batch
		}
	}
	return parcels
}

// relayedEvents is what became of a batch of rows.
type relayedEvents struct {
	rests   []db.RelayResult
	left    int64 // the first row that was not reached; 0: all were
	failure error // NATS is in trouble: it is not the rows
}

// publish publishes rows in their order. What NATS refuses of a row is left
// there for a while and holds up nothing else.
func (r *Relay) publish(ctx context.Context, parcels []parcel) (done relayedEvents) {
	var failed []db.RelayResult // by what may be no fault of theirs
	passed := false
	for len(parcels) > 0 && ctx.Err() == nil && r.JS.Conn().IsConnected() {
		size, entries := 0, []events.Entry(nil)
		for size < len(parcels) && (size == 0 || len(entries)+len(parcels[size].entries) <= relayEntries) {
			entries = append(entries, parcels[size].entries...)
			size++
		}
		together, cancel := context.WithTimeout(ctx, relayTogether)
		missing, err := r.Publisher.PublishSome(together, entries)
		cancel()
		passed = passed || len(missing) < len(entries)
		for _, p := range parcels[:size] {
			switch rest := p.rest(missing); {
			case rest.Remaining == nil || errors.Is(err, jetstream.ErrRefused):
				done.rests = append(done.rests, rest)
			default:
				failed = append(failed, rest)
			}
		}
		if err != nil && !errors.Is(err, jetstream.ErrRefused) {
			done.failure = err
		}
		parcels = parcels[size:]
	}
	if passed && !jetstream.Full(done.failure) {
		done.failure = nil // then it is the rows, not NATS
	}
	for _, rest := range failed {
		if done.failure != nil {
			rest.RetryAfter = 0
		}
		done.rests = append(done.rests, rest)
	}
	r.count(done.rests)
	if len(parcels) > 0 {
		done.left = parcels[0].id
	}
	return done
}

// rest tells what is left of a row.
func (p parcel) rest(missing []events.Entry) db.RelayResult {
	rest := db.RelayResult{ID: p.id, RetryAfter: refusedFor}
	switch unpublished := left(p.entries, missing); {
	case p.broken != nil:
		rest.Remaining = p.broken
	case len(unpublished) > 0:
		rest.Remaining = events.Encode(unpublished)
	}
	return rest
}

// left returns those of a row's entries that are missing.
func left(entries, missing []events.Entry) []events.Entry {
	if len(missing) == 0 {
		return nil
	}
	is := make(map[string]bool, len(missing))
	for _, m := range missing {
		is[m.Subject+" "+m.MsgID] = true
	}
	return only(entries, func(e events.Entry) bool { return is[e.Subject+" "+e.MsgID] })
}

func only[T any](all []T, fits func(T) bool) []T {
	var fit []T
	for _, one := range all {
		if fits(one) {
			fit = append(fit, one)
		}
	}
	return fit
}

// count shows what became of rows.
func (r *Relay) count(rests []db.RelayResult) {
	for _, rest := range rests {
		switch {
		case rest.Remaining == nil:
			r.metrics.relayed.WithLabelValues(kindEvents).Inc()
		case rest.RetryAfter > 0:
			r.metrics.refused.Inc()
			r.Log.Error("events can't be published and are left in the outbox", zap.Int64("outbox", rest.ID), zap.Duration("tried again in", refusedFor))
		}
	}
}

// claims relays claims, batch by batch, until none is abandoned.
func (r *Relay) claims(ctx context.Context) error {
	for ctx.Err() == nil {
		progress, err := r.claimsOnce(ctx)
		if err != nil {
			return fmt.Errorf("relay claims: %w", err)
		}
		if !progress {
			return nil
		}
	}
	return nil
}
