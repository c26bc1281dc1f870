package db

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Abandoned is an outbox row that its owner did not publish in time.
type Abandoned struct {
	ID        int64
	IsClaim   bool // ids are among what it holds
	OnArrival bool // those that were emitted as they arrived, and not by a tick
	Batch     []byte
}

// Emission is one id of a claim.
type Emission struct {
	ID    message.ID
	Claim int64
}

// Published is an outbox row whose entries are all published.
type Published struct {
	ID        int64
	Emissions []Emission // of a claim
}

// RelayParams say which rows a relay looks at.
type RelayParams struct {
	Age   time.Duration // those that are older
	After int64         // those whose id is higher
	Limit int           // this many at most
	Lease time.Duration // what the emissions of a claim get from now on
}

// Relayed is what a relay did.
type Relayed struct {
	Rows      int   // looked at
	Last      int64 // the highest id of those; 0 for none
	Published int
}

// Relay locks outbox rows that their owners left behind, oldest first, and
// hands them to publish; those that publish returns are done with, the others
// stay. Rows that another dispatcher is relaying are passed over. They stay
// locked meanwhile, so publish must return within 5 s: then the database ends
// the transaction.
func (s *Store) Relay(ctx context.Context, p RelayParams, publish func(context.Context, []Abandoned) []Published) (Relayed, error) {
	var relayed Relayed
	err := s.inTx(ctx, func(q, _ *dbsqlc.Queries) error {
		relayed = Relayed{}
		rows, err := q.LockAbandoned(ctx, p.After, p.Age, int32(p.Limit))
		if err != nil {
			return fmt.Errorf("look for abandoned outbox rows: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		relayed.Rows, relayed.Last = len(rows), rows[len(rows)-1].ID
		abandoned := make([]Abandoned, len(rows))
		byID := make(map[int64]Abandoned, len(rows))
		for i, row := range rows {
			abandoned[i] = Abandoned(row)
			byID[row.ID] = abandoned[i]
		}
		published := publish(ctx, abandoned)
		relayed.Published = len(published)
		return finishRelayed(ctx, q, published, byID, p.Lease)
	})
	if err != nil {
		return Relayed{}, fmt.Errorf("relay: %w", err)
	}
	return relayed, nil
}

func finishRelayed(ctx context.Context, q *dbsqlc.Queries, published []Published, abandoned map[int64]Abandoned, lease time.Duration) error {
	ids := make([]int64, 0, len(published))
	for _, row := range published {
		if !abandoned[row.ID].IsClaim {
			ids = append(ids, row.ID)
			continue
		}
		emitted, claims := make([]message.ID, len(row.Emissions)), make([]int64, len(row.Emissions))
		for i, e := range row.Emissions {
			emitted[i], claims[i] = e.ID, e.Claim
		}
		if err := q.RenewLeases(ctx, lease, emitted, claims); err != nil {
			return fmt.Errorf("renew leases of outbox row %d: %w", row.ID, err)
		}
		if abandoned[row.ID].OnArrival {
			ids = append(ids, row.ID)
			continue
		}
		if _, err := q.FinishClaim(ctx, int32(len(row.Emissions)), row.ID); err != nil {
			return fmt.Errorf("finish claim of outbox row %d: %w", row.ID, err)
		}
	}
	if err := q.DeletePublished(ctx, ids); err != nil {
		return fmt.Errorf("delete %d outbox rows: %w", len(ids), err)
	}
	return nil
}

// Unpublished is a claim that is made and not yet published.
type Unpublished struct {
	OutboxID int64
	Batch    []byte
	Age      time.Duration
}

// UnpublishedClaims returns the claims of that age or more that are not yet
// published, oldest first: of a tick's one at most, and those that were made on
// arrival. One from the future, since Postgres' clock was set back, may be of
// any age.
func (s *Store) UnpublishedClaims(ctx context.Context, age time.Duration) ([]Unpublished, error) {
	rows, err := s.queries.UnpublishedClaims(ctx, age)
	if err != nil {
		return nil, fmt.Errorf("look for unpublished claims: %w", err)
	}
	claims := make([]Unpublished, len(rows))
	for i, row := range rows {
		claims[i] = Unpublished{OutboxID: row.ID, Batch: row.Batch, Age: time.Duration(row.AgeSeconds * float64(time.Second))}
	}
	return claims, nil
}

// DeletePublished deletes outbox rows whose entries are published. The claims
// of ticks are left alone: FinishClaim ends those.
func (s *Store) DeletePublished(ctx context.Context, ids []int64) error {
	if err := s.queries.DeletePublished(ctx, ids); err != nil {
		return fmt.Errorf("delete %d outbox rows: %w", len(ids), err)
	}
	return nil
}

// OutboxBacklog tells how many outbox rows wait, and how old the oldest is.
func (s *Store) OutboxBacklog(ctx context.Context) (rows int64, oldest time.Duration, err error) {
	backlog, err := s.queries.OutboxBacklog(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("measure outbox: %w", err)
	}
	return backlog.Batches, time.Duration(backlog.OldestSeconds * float64(time.Second)), nil
}
