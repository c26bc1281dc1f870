package checker

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

func (r *Evidence) gatherPostgres(ctx context.Context, at Places) error {
	conn, err := pgx.Connect(ctx, at.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// One snapshot for all of it.
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	rows, err := tx.Query(ctx, `
		SELECT id::text, coalesce(idempotency_key, ''), coalesce(idempotency_scope, ''), status::text, coalesce(external_id, ''),
		       coalesce(last_error, ''), version, claim_number, attempts, budget_start, claims_without_outcome, created_at, updated_at
		FROM messages ORDER BY id`)
	if err != nil {
		return err
	}
	if r.Rows, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Row]); err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	rows, err = tx.Query(ctx, `
		SELECT message_id::text, number, claim_number, delivery_count, started_at, coalesce(http_status, 0), outcome, coalesce(error, '')
		FROM attempts`)
	if err != nil {
		return err
	}
	if r.Attempts, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Attempt]); err != nil {
		return fmt.Errorf("attempts: %w", err)
	}
	var outbox int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM outbox").Scan(&outbox); err != nil {
		return err
	}
	if outbox > 0 {
		r.Leftovers = append(r.Leftovers, Leftover{"outbox", fmt.Sprintf("%d rows", outbox)})
	}
	if r.Counted, err = counts(ctx, tx, "SELECT status::text, count(*) FROM messages GROUP BY 1"); err != nil {
		return err
	}
	r.Kept, err = counts(ctx, tx, "SELECT status::text, sum(difference)::bigint FROM status_counts GROUP BY 1")
	return err
}

func counts(ctx context.Context, tx pgx.Tx, query string) (map[string]int64, error) {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	type count struct {
		Status string
		N      int64
	}
	counted, err := pgx.CollectRows(rows, pgx.RowToStructByPos[count])
	list := map[string]int64{}
	for _, c := range counted {
		list[c.Status] = c.N
	}
	return list, err
}
