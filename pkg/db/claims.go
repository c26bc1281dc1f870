package db

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Delivery is one id of a claim.
type Delivery struct {
	ID          message.ID
	ClaimNumber message.ClaimNumber
}

// OpenClaim is a claim that may not be published yet.
type OpenClaim struct {
	OutboxID int64
	Relays   int // how often a relay took it over
	Batch    []byte
	Age      time.Duration // since the claim
}

// AbandonedClaims returns claims, oldest first, that their last owner did not publish
// within age. It locks nothing. It starts where OutboxBacklog last found rows.
func (s *Store) AbandonedClaims(ctx context.Context, age time.Duration, limit int) ([]OpenClaim, error) {
	rows, err := s.queries.AbandonedClaims(ctx, dbsqlc.AbandonedClaimsParams{Watermark: s.outbox.watermark(), Age: age, BatchLimit: int32(limit), BytesLimit: outboxPageBytes})
	if err != nil {
		return nil, fmt.Errorf("look for abandoned claims: %w", err)
	}
	claims := make([]OpenClaim, len(rows))
	for i, row := range rows {
		claims[i] = OpenClaim{OutboxID: row.ID, Relays: int(row.RelayCount), Batch: row.Batch, Age: seconds(row.AgeSeconds)}
	}
	return claims, nil
}

// TakeOverParams say how a relay takes claims.
type TakeOverParams struct {
	Age         time.Duration // for how long they are the caller's
	Lease       time.Duration // what their messages get from now on
	Unpublished []Delivery    // those that were not published
	// Rewrite makes of a claim's batch what is to be published now. raised holds
	// the new claim numbers.
	Rewrite func(batch []byte, raised map[message.ID]message.ClaimNumber) RewrittenClaim
}

// RewrittenClaim is what a relay is to publish of a claim.
type RewrittenClaim struct {
	Batch []byte // empty: nothing
	IDs   int    // how many ids are in it
	Size  int    // how many there were in what it was made from
}

// TakeOverClaims makes the caller the owner of claims, under new claim numbers: the
// gate drops everything that comes under the old ones. It returns those that are
// to be published; claims of which no id is left are ended with that. A claim
// that somebody else has taken or ended is passed over.
func (s *Store) TakeOverClaims(ctx context.Context, claims []OpenClaim, p TakeOverParams) ([]OpenClaim, error) {
	var taken []OpenClaim
	err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
		ids, relays := make([]int64, len(claims)), make([]int32, len(claims))
		known := make(map[int64]int, len(claims))
		for i, c := range claims {
			ids[i], relays[i], known[c.OutboxID] = c.OutboxID, int32(c.Relays), c.Relays
		}
		locked, err := q.LockClaims(ctx, ids, relays)
		if err != nil || len(locked) == 0 {
			return err
		}
		raised, err := raise(ctx, q, p)
		if err != nil {
			return err
		}
		taken = nil
		var ended []FinishedClaim
		batches := make([][]byte, len(locked))
		numbers := make([]int64, len(locked))
		for i, row := range locked {
			now := p.Rewrite(row.Batch, raised)
			numbers[i], batches[i] = row.ID, notNull(now.Batch)
			if now.IDs > 0 {
				taken = append(taken, OpenClaim{OutboxID: row.ID, Relays: known[row.ID] + 1, Batch: now.Batch})
			} else {
				ended = append(ended, FinishedClaim{OutboxID: row.ID, Relays: known[row.ID] + 1, Rest: now.Batch, Size: now.Size})
			}
		}
		if err := q.TakeOverClaims(ctx, p.Age, numbers, batches); err != nil {
			return err
		}
		return endClaims(ctx, q, ended)
	})
	if err != nil {
		return nil, fmt.Errorf("take %d claims: %w", len(claims), err)
	}
	return taken, nil
}

func raise(ctx context.Context, q *dbsqlc.Queries, p TakeOverParams) (map[message.ID]message.ClaimNumber, error) {
	ids, claims := make([]message.ID, len(p.Unpublished)), make([]int64, len(p.Unpublished))
	for i, e := range p.Unpublished {
		ids[i], claims[i] = e.ID, int64(e.ClaimNumber)
	}
	rows, err := q.RaiseClaimNumbers(ctx, p.Lease, ids, claims)
	if err != nil {
		return nil, fmt.Errorf("raise %d claim numbers: %w", len(ids), err)
	}
	raised := make(map[message.ID]message.ClaimNumber, len(rows))
	for _, row := range rows {
		raised[row.ID] = row.ClaimNumber
	}
	return raised, nil
}

// FinishedClaim is a claim whose ids are all published.
type FinishedClaim struct {
	OutboxID int64
	Relays   int    // as it was taken; 0 by its owner
	Rest     []byte // events that are still to be published; empty for none
	Size     int    // how many ids it held
}

// FinishRelayedClaims ends claims. For the claim of a tick, the interval begins now
// by the clock of Postgres. A claim that another relay took over is left alone.
func (s *Store) FinishRelayedClaims(ctx context.Context, ended []FinishedClaim) error {
	return endClaims(ctx, s.queries, ended)
}

func endClaims(ctx context.Context, q *dbsqlc.Queries, ended []FinishedClaim) error {
	if len(ended) == 0 {
		return nil
	}
	var params dbsqlc.FinishRelayedClaimsParams
	for _, e := range ended {
		params.Ids, params.RelayCounts = append(params.Ids, e.OutboxID), append(params.RelayCounts, int32(e.Relays))
		params.Remainders, params.ClaimSizes = append(params.Remainders, notNull(e.Rest)), append(params.ClaimSizes, int32(e.Size))
	}
	if _, err := q.FinishRelayedClaims(ctx, params); err != nil {
		return fmt.Errorf("end %d claims: %w", len(ended), err)
	}
	return nil
}

// notNull returns an empty slice for nil, for columns that are NOT NULL.
func notNull(batch []byte) []byte {
	if batch == nil {
		return []byte{}
	}
	return batch
}

// CloseLostClaim ends the open claim of a tick whose outbox row is gone (see
// Pace): an interval begins now. It must not be called before its owner's time
// for publishing it is over. It reports whether there was one.
func (s *Store) CloseLostClaim(ctx context.Context) (bool, error) {
	n, err := s.queries.CloseLostClaim(ctx)
	if err != nil {
		return false, fmt.Errorf("close a claim whose outbox row is gone: %w", err)
	}
	return n > 0, nil
}

// UnpublishedClaim is a claim that is made and not yet published.
type UnpublishedClaim struct {
	OutboxID int64
	Age      time.Duration
}

// UnpublishedClaims returns the claims of that age or more that are not yet
// published, oldest first: of a tick's one at most, and those that were made on
// arrival. One from the future, since Postgres' clock was set back, may be of
// any age.
func (s *Store) UnpublishedClaims(ctx context.Context, age time.Duration) ([]UnpublishedClaim, error) {
	rows, err := s.queries.UnpublishedClaims(ctx, age)
	if err != nil {
		return nil, fmt.Errorf("look for unpublished claims: %w", err)
	}
	claims := make([]UnpublishedClaim, len(rows))
	for i, row := range rows {
		claims[i] = UnpublishedClaim{OutboxID: row.ID, Age: seconds(row.AgeSeconds)}
	}
	return claims, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
