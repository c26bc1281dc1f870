package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// maxClaimedIDs bounds the ids of the claims that are relayed together,
	// because each id is a question to the stream.
	maxClaimedIDs = 1000
	// unreadableFor is how long a claim that cannot be decoded is left to other
	// dispatchers. A newer release may have written it.
	unreadableFor = time.Minute
)

// relayClaims relays claims, batch by batch, until none is abandoned.
func (r *Relay) relayClaims(ctx context.Context) error {
	for ctx.Err() == nil {
		progress, err := r.relayClaimBatch(ctx)
		if err != nil {
			return fmt.Errorf("relay claims: %w", err)
		}
		if !progress {
			return nil
		}
	}
	return nil
}

// relayClaimBatch gives claims new claim numbers and publishes them. The order
// of its steps keeps a second request from being made while one is in flight:
//
//  1. Check which ids of the claims are on the work queue. They were published
//     by an owner or a relay that could not store that, and are left alone.
//  2. Wait until the recorder has recorded everything that EVENTS holds. A
//     delivery that was published and is gone has left its outcome there.
//  3. Raise the claim numbers of the other ids and rewrite the outbox rows, in
//     one transaction. From here on, the gate drops a late original, however
//     late it arrives.
//  4. Publish the new numbers, but only where the subject has not changed since
//     step 1. A delivery that arrived between 1 and 3 may be with a sender, and
//     the new one waits until that is gone.
//  5. Finish the claims.
//
// If a relay dies, another one begins at step 1 and takes numbers of its own.
func (r *Relay) relayClaimBatch(ctx context.Context) (progress bool, err error) {
	abandoned, err := r.Store.AbandonedClaims(ctx, AbandonedAfter, maxRows)
	if err != nil || len(abandoned) == 0 {
		return false, err
	}
	claims, ids, unreadable := r.readClaims(abandoned)
	if len(unreadable) > 0 {
		if err := r.Store.FinishRelayedClaims(ctx, unreadable); err != nil {
			return false, err
		}
		progress = true
	}
	if len(claims) == 0 {
		return progress, nil
	}
	queue, err := r.checkQueue(ctx, ids)
	if err != nil {
		return false, err
	}
	if err := r.AwaitRecorder(ctx); err != nil {
		return false, err
	}
	failpoint.At(failpoint.RelayChecked)
	began := time.Now()
	// From here on, the end of the process does not interrupt: it would leave
	// the claims to the next relay.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), component.PublishTimeout+2*component.StoreTimeout)
	defer cancel()
	taken, err := r.Store.TakeOverClaims(ctx, claims, db.TakeOverParams{
		Age: AbandonedAfter, Lease: r.Lease, Unpublished: queue.absent(ids), Rewrite: queue.rewrite,
	})
	if err != nil {
		return false, err
	}
	failpoint.At(failpoint.RelayRaised)
	return true, r.publishClaims(ctx, began, taken, queue)
}

// emission is an id that a claim puts on the work queue, or has put there.
type emission struct {
	db.Delivery
	subject string
	relayed bool // a relay has given it its claim number
}

// emissionOf returns the emission that an entry publishes. Entries of events
// are none.
func emissionOf(entry events.OutboxMessage) (emission, bool) {
	if !entry.IsDelivery() {
		return emission{}, false
	}
	id, claim, err := events.ParseDelivery(entry.Subject, entry.Headers[events.HeaderClaim])
	if err != nil {
		return emission{}, false
	}
	return emission{
		Delivery: db.Delivery{ID: id, ClaimNumber: claim}, subject: entry.Subject,
		relayed: entry.Headers[events.HeaderOrigin] == events.OriginRelay,
	}, true
}

// readClaims decodes claims, up to maxClaimedIDs ids. A claim that cannot be
// decoded would block the pace forever. After a while it is finished, and its
// row keeps its contents; its messages come back after their lease.
func (r *Relay) readClaims(abandoned []db.OpenClaim) (claims []db.OpenClaim, ids []emission, unreadable []db.FinishedClaim) {
	for _, claim := range abandoned {
		batch, err := events.DecodeOutbox(claim.Batch)
		if err != nil {
			if claim.Age > unreadableFor {
				r.Log.Error("give up a claim that cannot be decoded; its messages come back after their lease",
					zap.Int64("outbox", claim.OutboxID), zap.Error(err))
				unreadable = append(unreadable, db.FinishedClaim{OutboxID: claim.OutboxID, Relays: claim.Relays, Rest: claim.Batch})
			}
			continue
		}
		if len(ids) > 0 && len(ids)+len(batch) > maxClaimedIDs {
			break
		}
		claims = append(claims, claim)
		for _, entry := range batch {
			if e, ok := emissionOf(entry); ok {
				ids = append(ids, e)
			}
		}
	}
	return claims, ids, unreadable
}

// publishClaims publishes claims, and finishes those whose ids are all
// published. The next relay takes the others.
func (r *Relay) publishClaims(ctx context.Context, began time.Time, taken []db.OpenClaim, queue queueState) error {
	publishing, cancel := context.WithDeadline(ctx, began.Add(component.PublishTimeout))
	defer cancel()
	var all []events.OutboxMessage
	claims := make([]claimToPublish, len(taken))
	for i, claim := range taken {
		claims[i] = queue.toPublish(claim)
		all = append(all, claims[i].entries...)
	}
	missing, err := r.Publisher.PublishIDs(publishing, all)
	failpoint.At(failpoint.RelayPublished)
	var finished []db.FinishedClaim
	for _, claim := range claims {
		rest := missingOf(claim.entries, missing)
		if claim.waits || slices.ContainsFunc(rest, events.OutboxMessage.IsDelivery) {
			continue
		}
		f := db.FinishedClaim{OutboxID: claim.OutboxID, Relays: claim.Relays, Size: claim.ids}
		if len(rest) > 0 {
			f.Rest = events.EncodeOutbox(rest)
		}
		finished = append(finished, f)
		r.metrics.relayed.WithLabelValues(kindClaim).Inc()
		r.Log.Info("relayed a claim that its owner did not publish", zap.Int("messages", claim.ids))
	}
	if failed := r.Store.FinishRelayedClaims(ctx, finished); failed != nil {
		return failed
	}
	if slices.ContainsFunc(missing, events.OutboxMessage.IsDelivery) {
		return err
	}
	return nil
}
