package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// emitted says which emissions of unpublished claims were made all the
// same: by an owner, or a relay, that could not say so to Postgres. Repeating
// one would put a second copy beside a request that is in flight.
type emitted struct {
	claims  map[db.Emission]bool
	unknown map[int64]bool // outbox rows that could not be looked at now
	failed  bool           // none could
}

// skips says that a row has to wait until it is known what became of it.
func (e emitted) skips(row db.Abandoned) bool {
	return row.IsClaim && (e.failed || e.unknown[row.ID])
}

// lookAtOnce is from how many emissions on the rest waits for the next round:
// each is a question to the stream.
const lookAtOnce = 1000

// emitted looks for the emissions of unpublished claims that are so old that
// the stream may have forgotten their ids; a younger one may be repeated
// without a thought.
func (r *relay) emitted(ctx context.Context) (emitted, error) {
	ctx, cancel := context.WithTimeout(ctx, recorderWait)
	defer cancel()
	claims, err := r.store.UnpublishedClaims(ctx, doubtAge)
	if err != nil {
		return emitted{failed: true}, err
	}
	found := emitted{claims: map[db.Emission]bool{}, unknown: map[int64]bool{}}
	var entries []events.Entry
	for _, claim := range claims {
		if len(entries) >= lookAtOnce {
			found.unknown[claim.OutboxID] = true
			continue
		}
		batch, err := events.Decode(claim.Batch)
		if err != nil {
			continue // the relay tells
		}
		for _, entry := range batch {
			if _, ok := emissionOf(entry); ok {
				entries = append(entries, entry)
			}
		}
	}
	if len(entries) == 0 {
		return found, nil
	}
	if err := r.look(ctx, entries, found.claims); err != nil {
		return emitted{failed: true}, err
	}
	return found, nil
}

// look asks the stream first: a copy that is gone from there has left its
// outcome in EVENTS, so that once the recorder has passed what EVENTS holds
// after that, its row tells.
func (r *relay) look(ctx context.Context, entries []events.Entry, found map[db.Emission]bool) error {
	deliveries, err := r.js.Stream(ctx, r.topology.DeliveriesStream())
	if err != nil {
		return fmt.Errorf("look up deliveries: %w", err)
	}
	var ids []message.ID
	claims := map[message.ID]int64{}
	for _, entry := range entries {
		emission, _ := emissionOf(entry)
		waits, err := waiting(ctx, deliveries, entry.Subject, emission.Claim)
		if err != nil {
			return err
		}
		if waits {
			found[emission] = true
			continue
		}
		ids = append(ids, emission.ID)
		claims[emission.ID] = emission.Claim
	}
	if err := awaitAllRecorded(ctx, r.positions); err != nil {
		return err
	}
	rows, err := r.store.LoadQueued(ctx, ids)
	if err != nil {
		return err
	}
	for id, claim := range claims {
		if row, open := rows[id]; !open || row.Claim != claim {
			found[db.Emission{ID: id, Claim: claim}] = true
		}
	}
	return nil
}

// waiting reports whether the subject holds a copy with the claim.
func waiting(ctx context.Context, deliveries jetstream.Stream, subject string, claim int64) (bool, error) {
	msg, err := deliveries.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a copy on %s: %w", subject, err)
	}
	return msg.Header.Get(events.HeaderClaim) == strconv.FormatInt(claim, 10), nil
}

// awaitAllRecorded returns once the recorder has passed everything that
// EVENTS holds now.
func awaitAllRecorded(ctx context.Context, positions events.Positions) error {
	last, err := positions.Last(ctx)
	if err != nil {
		return err
	}
	return positions.AwaitRecorded(ctx, last)
}
