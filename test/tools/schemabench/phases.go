package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// load fills the tables: half of the messages finished, half of them due. The
// indexes but the primary key are made after, and the counts in one go.
func (b *bench) load(ctx context.Context) error {
	rows, err := b.pool.Query(ctx, `SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('messages', 'message_filters') AND indexname <> 'messages_pkey'`)
	if err != nil {
		return err
	}
	type index struct{ Name, Definition string }
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	if err != nil {
		return err
	}
	steps := []string{"ALTER TABLE messages DISABLE TRIGGER USER"}
	for _, i := range indexes {
		steps = append(steps, "DROP INDEX "+i.Name)
	}
	steps = append(steps, fmt.Sprintf(dbtest.LoadSQL, b.rows), "INSERT INTO message_filters SELECT id, destination, recipient, type FROM messages")
	for _, i := range indexes {
		steps = append(steps, i.Definition)
	}
	steps = append(steps,
		"ALTER TABLE messages ENABLE TRIGGER USER",
		"INSERT INTO status_counts SELECT destination, status, count(*) FROM messages GROUP BY 1, 2",
		"VACUUM ANALYZE")
	for _, step := range steps {
		if _, err := b.pool.Exec(ctx, step); err != nil {
			return fmt.Errorf("%.40s: %w", step, err)
		}
	}
	return b.sizes(ctx)
}

// sizes tells where the bytes are.
func (b *bench) sizes(ctx context.Context) error {
	var stored int64
	if err := b.pool.QueryRow(ctx, "SELECT count(*) FROM messages").Scan(&stored); err != nil {
		return err
	}
	//nolint:rowserrcheck // ForEachRow does
	rows, err := b.pool.Query(ctx, `SELECT relname, pg_relation_size(oid) + CASE WHEN relkind = 'r' THEN
		pg_table_size(oid) - pg_relation_size(oid) ELSE 0 END FROM pg_class
		WHERE relname ~ '^(messages|message_filters|attempts|outbox|status_counts)' AND relkind IN ('r', 'i') ORDER BY 2 DESC`)
	if err != nil {
		return err
	}
	var name string
	var bytes, total int64
	_, err = pgx.ForEachRow(rows, []any{&name, &bytes}, func() error {
		total += bytes
		if bytes > stored {
			fmt.Printf("%-24s %6.1f bytes a message\n", name, float64(bytes)/float64(stored))
		}
		return nil
	})
	fmt.Printf("%-24s %6.1f bytes a message, of %d\n", "all", float64(total)/float64(stored), stored)
	return err
}

// timed runs something for a while, or n times, and tells how long it took.
func timed(ctx context.Context, n int, within time.Duration, work func() error) ([]time.Duration, error) {
	var took []time.Duration
	for end := time.Now().Add(within); len(took) < n && time.Now().Before(end); {
		began := time.Now()
		if err := work(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}

func at(took []time.Duration, share float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return took[min(int(float64(len(took))*share), len(took)-1)].Round(time.Microsecond)
}

func tell(name string, took []time.Duration) {
	fmt.Printf("%-44s p50 %9s  p99 %9s  worst %9s  (%d)\n", name, at(took, .5), at(took, .99), at(took, 1), len(took))
}

// rate is how many things a second were done, at the median of their times.
func rate(took []time.Duration, size int) float64 {
	return float64(size) / max(at(took, .5), time.Microsecond).Seconds()
}

// drafts are new messages like those of load.sql.
func drafts(n int) []message.Message {
	group := make([]message.Message, n)
	for i := range group {
		group[i] = message.Message{
			ID: message.NewID(time.Now().Add(time.Duration(i) * time.Microsecond)), To: fmt.Sprintf("+90555%07d", rand.IntN(1<<20)),
			Content: strings.Repeat("Your parcel is on its way. ", 6)[:150], Type: "order.shipped",
			Destination: message.DefaultDestination, Priority: message.DefaultPriority,
		}
	}
	return group
}

func box([]message.Message) []byte { return []byte("x") }

func (b *bench) insert(ctx context.Context, n int) error {
	_, outbox, err := b.store.Insert(ctx, drafts(n), box)
	if err != nil {
		return err
	}
	return b.store.DeletePublished(ctx, []int64{outbox})
}

func (b *bench) inserts(ctx context.Context) error {
	for _, n := range []int{100, 1000} {
		var took []time.Duration
		spent, err := metered(ctx, b.pool, func() (_ int, err error) {
			took, err = timed(ctx, 1<<30, b.seconds, func() error { return b.insert(ctx, n) })
			return len(took) * n, err
		})
		if err != nil {
			return err
		}
		fmt.Printf("groups of %-5d %8.0f rows/s  %s\n", n, rate(took, n), spent)
	}
	return nil
}

// claim runs one tick and finishes it.
func (b *bench) claim(ctx context.Context, k int, floor *db.Watermark) (db.TickResult, error) {
	tick, err := b.store.Tick(ctx, db.TickParams{
		Destination: message.DefaultDestination, Limit: k, Lease: time.Hour, Watermark: floor,
		BatchSize:    func(time.Duration, int) int { return k },
		EncodeOutbox: func(db.Claim) []byte { return []byte("x") },
	})
	if err != nil {
		return tick, err
	}
	if tick.Size() < k {
		return tick, fmt.Errorf("only %d messages are due: load more", tick.Size())
	}
	return tick, b.store.FinishClaim(ctx, tick.OutboxID, k)
}

func (b *bench) claims(ctx context.Context) error { return b.claimRates(ctx, new(db.Watermark)) }

func (b *bench) claimRates(ctx context.Context, floor *db.Watermark) error {
	for range 3 {
		for _, k := range []int{1000, 2} {
			var took []time.Duration
			spent, err := metered(ctx, b.pool, func() (_ int, err error) {
				took, err = timed(ctx, 1<<30, b.seconds/2, func() error {
					_, err := b.claim(ctx, k, floor)
					return err
				})
				return len(took) * k, err
			})
			if err != nil {
				return err
			}
			tell(fmt.Sprintf("k=%-5d %8.0f rows/s", k, rate(took, k)), took)
			fmt.Printf("%9s%s\n", "", spent)
		}
	}
	return nil
}

// snapshot claims beside a transaction that holds a snapshot from before.
func (b *bench) snapshot(ctx context.Context) error {
	held, err := b.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer func() { _ = held.Rollback(ctx) }()
	if _, err := held.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0; SELECT count(*) FROM schedule"); err != nil {
		return err
	}
	fmt.Println("with the floor")
	if err := b.claimRates(ctx, new(db.Watermark)); err != nil {
		return err
	}
	fmt.Println("without")
	return b.claimRates(ctx, nil)
}

// outcomesOf tells that messages were sent.
func outcomesOf(claimed []message.Message) []db.Outcome {
	outcomes := make([]db.Outcome, len(claimed))
	for i, m := range claimed {
		now := time.Now()
		outcomes[i] = db.Outcome{
			ID: m.ID, Transition: message.Succeed, Version: m.Version + 1, ClaimNumber: m.ClaimNumber, NextClaimNumber: m.ClaimNumber, DeliveryCount: 1,
			Attempts: 1, EndedAt: now, ExternalID: message.NewID(now).String(),
			Attempt: &message.Attempt{
				Number: 1, StartedAt: now, Duration: 12 * time.Millisecond, Outcome: message.OutcomeSuccess, HTTPStatus: 200,
				Response: `{"message":"Accepted","messageId":"67f2f8a8-ea58-4ed0-a6f9-ff217df4d849"}`,
			},
		}
	}
	return outcomes
}

func (b *bench) outcomes(ctx context.Context) error {
	const k = 1000
	var took []time.Duration
	var cpu []string
	for end := time.Now().Add(b.seconds); time.Now().Before(end); {
		tick, err := b.claim(ctx, k, nil)
		if err != nil {
			return err
		}
		outcomes := outcomesOf(tick.Fresh)
		began := time.Now()
		spent, err := metered(ctx, b.pool, func() (int, error) { return b.store.Record(ctx, outcomes, time.Hour) })
		if err != nil {
			return err
		}
		took, cpu = append(took, time.Since(began)), append(cpu, spent)
	}
	slices.Sort(took)
	slices.Sort(cpu)
	fmt.Printf("batches of %d   %8.0f rows/s, with an attempt each; %s\n", k, rate(took, k), cpu[len(cpu)/2])
	return nil
}

// retention deletes what finished in the older half, as the dispatcher does.
func (b *bench) retention(ctx context.Context) error {
	const step = 500
	var last message.ID
	deleted := 0
	remove := func() error {
		d, err := b.store.DeletePastRetention(ctx, 10*24*time.Hour, last, step)
		if err == nil && d.Seen < step {
			return fmt.Errorf("nothing is left to delete: load more")
		}
		last, deleted = d.Last, deleted+d.Messages
		return err
	}
	took, err := timed(ctx, 1<<30, b.seconds, remove)
	if err != nil {
		return err
	}
	tell(fmt.Sprintf("steps of %d %10.0f rows/s", step, rate(took, step)), took)

	floor := new(db.Watermark)
	for _, k := range []int{1000, 2} {
		for range 3 {
			alone, err := timed(ctx, 1<<30, b.seconds/3, func() error { _, err := b.claim(ctx, k, floor); return err })
			if err != nil {
				return err
			}
			beside, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() {
				for beside.Err() == nil {
					began := time.Now()
					if err := remove(); err != nil {
						ended <- err
						return
					}
					time.Sleep(4 * time.Since(began)) // the dispatcher's rest
				}
				ended <- nil
			}()
			with, err := timed(ctx, 1<<30, b.seconds/3, func() error { _, err := b.claim(ctx, k, floor); return err })
			stop()
			if err := <-ended; err != nil {
				return err
			}
			if err != nil {
				return err
			}
			fmt.Printf("claim k=%-5d alone p50 %s p99 %s, beside deletes p50 %s p99 %s\n", k, at(alone, .5), at(alone, .99), at(with, .5), at(with, .99))
		}
	}
	fmt.Printf("deleted %d\n", deleted)
	return nil
}

// life empties the tables and takes messages through their whole life, as the
// services do, so that the sizes are those of a table at work.
func (b *bench) life(ctx context.Context) error {
	if _, err := b.pool.Exec(ctx, "TRUNCATE messages, message_filters, attempts, outbox, status_counts"); err != nil {
		return err
	}
	floor := new(db.Watermark)
	rows := min(b.rows, 1_000_000)
	for done := 0; done < rows; done += 1000 {
		if done%max(rows/20, 1000) == 0 { // as autovacuum does with a large table, when a fifth of it is dead
			if _, err := b.pool.Exec(ctx, "VACUUM messages"); err != nil {
				return err
			}
		}
		for range 10 {
			if err := b.insert(ctx, 100); err != nil {
				return err
			}
		}
		for range 2 {
			tick, err := b.claim(ctx, 500, floor)
			if err != nil {
				return err
			}
			if _, err := b.store.Record(ctx, outcomesOf(tick.Fresh), time.Hour); err != nil {
				return err
			}
		}
		if done%50_000 == 0 {
			if err := b.store.FoldCounts(ctx); err != nil {
				return err
			}
		}
	}
	if _, err := b.pool.Exec(ctx, "VACUUM messages, message_filters, attempts, outbox, status_counts"); err != nil {
		return err
	}
	return b.sizes(ctx)
}
