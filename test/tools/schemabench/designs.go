package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/migrations"
)

// design is a way to lay out the tables, boiled down to the three statements
// of the hot path. They are the product's own, as far as the layout allows.
type design struct {
	name                   string
	setup                  []string
	insert, claim, outcome string
}

const (
	// fresh is new messages; 1,000 of them.
	fresh = `SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 3, '0')
		|| 'a' || substr(md5(random()::text), 1, 15))::uuid AS id, clock_timestamp() AS at,
		'+90555' || (1000000 + random() * 1000000)::int AS recipient, repeat('Your parcel is ', 10) AS content FROM generate_series(1, 1000) AS n`
	walks = `SELECT due.id FROM generate_series(9, 0, -1) AS level (priority) CROSS JOIN LATERAL (
		SELECT m.id FROM %s AS m WHERE m.status = 'PENDING' AND m.destination = 'default' AND m.priority = level.priority
		AND m.deliver_at <= now() AND (m.expires_at IS NULL OR m.expires_at > now())
		ORDER BY m.deliver_at, m.id LIMIT $1 FOR UPDATE SKIP LOCKED) AS due LIMIT $1`
	queue = `status = 'QUEUED', claim_number = m.claim_number + 1, version = m.version + 1, claims_without_outcome = m.claims_without_outcome + 1, queued_at = clock_timestamp(),
		updated_at = clock_timestamp(), lease_until = clock_timestamp() + interval '5 minutes'`
	sent = `status = 'SENT', version = m.version + 1, attempts = 1, claims_without_outcome = 0, updated_at = clock_timestamp(),
		sent_at = clock_timestamp(), lease_until = NULL, external_id = gen_random_uuid()::text`
	try      = `INSERT INTO attempts SELECT id, 1, 1, 1, now(), 12345, 200, 'success', NULL, repeat('r', 75) FROM done`
	inFlight = `SELECT id FROM %s WHERE status IN ('QUEUED', 'RETRYING') ORDER BY lease_until LIMIT 1000`
)

// lists are the indexes of which only reading has a use.
const lists = `DROP INDEX messages_status, messages_external_id`

// noLookups takes away what stands beside the messages.
const noLookups = `DROP TABLE message_filters; DROP TRIGGER messages_insert_filters ON messages; DROP TRIGGER messages_delete_filters ON messages`

// designs are compared in turns, on the same server. Each begins with the
// tables of the migrations, empty.
func designs() []design {
	filters := design{
		name:   "one table, and one beside for what lists look up",
		insert: `INSERT INTO messages (id, created_at, updated_at, deliver_at, destination, recipient, content, type) SELECT id, at, at, at, 'default', recipient, content, 'order.shipped' FROM (` + fresh + `) AS f`,
		claim:  `WITH picked AS (` + fmt.Sprintf(walks, "messages") + `) UPDATE messages AS m SET ` + queue + ` FROM picked WHERE m.id = picked.id RETURNING m.*`,
		outcome: `WITH flying AS (` + fmt.Sprintf(inFlight, "messages") + `), done AS (UPDATE messages AS m SET ` + sent +
			` FROM flying WHERE m.id = flying.id RETURNING m.id) ` + try,
	}
	single := filters
	single.name = "one table"
	single.setup = []string{
		noLookups,
		`CREATE INDEX ON messages (recipient, id)`,
		`CREATE INDEX ON messages (type, id) WHERE type IS NOT NULL`,
	}
	bare := filters
	bare.name, bare.setup = "one table without indexes for lists", []string{lists, noLookups}

	partitioned := single
	partitioned.name = "31 partitions by id, keys in a table of their own"
	partitioned.setup = []string{
		noLookups,
		`ALTER TABLE messages RENAME TO plain`,
		`CREATE TABLE messages (LIKE plain INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (id)`,
		`ALTER TABLE messages ADD PRIMARY KEY (id)`,
		`DO $$ BEGIN FOR day IN -15..15 LOOP EXECUTE format('CREATE TABLE messages_%s PARTITION OF messages FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 85)', day + 15,
			rpad(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + day * 86400000), 12, '0'), 32, '0')::uuid,
			rpad(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + (day + 1) * 86400000), 12, '0'), 32, '0')::uuid); END LOOP; END $$`,
		`CREATE INDEX ON messages (destination, priority, deliver_at, id) WHERE status = 'PENDING'`,
		`CREATE INDEX ON messages (lease_until) WHERE status IN ('QUEUED', 'RETRYING')`,
		`CREATE INDEX ON messages (status, id)`,
		`CREATE INDEX ON messages (recipient, id)`,
		`CREATE INDEX ON messages (type, id) WHERE type IS NOT NULL`,
		`CREATE INDEX ON messages (external_id, id) WHERE external_id IS NOT NULL`,
		`CREATE TRIGGER i AFTER INSERT ON messages REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_inserted()`,
		`CREATE TRIGGER u AFTER UPDATE ON messages REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_updated()`,
	}

	// What changes stands in messages, what does not in texts.
	split := single
	split.name = "a narrow table of states beside the texts"
	split.setup = []string{
		noLookups,
		`ALTER TABLE messages DROP COLUMN content CASCADE, DROP COLUMN payload, DROP COLUMN recipient, DROP COLUMN type, DROP COLUMN metadata, DROP COLUMN idempotency_scope, DROP COLUMN idempotency_key, DROP COLUMN body_hash`,
		`CREATE TABLE texts (id uuid PRIMARY KEY, recipient text NOT NULL, content text, payload bytea, type text, metadata jsonb, scope text, idempotency_key text, body_hash bytea)`,
		`CREATE INDEX ON texts (recipient, id)`,
		`CREATE INDEX ON texts (type, id) WHERE type IS NOT NULL`,
	}
	split.insert = `WITH f AS MATERIALIZED (` + fresh + `), t AS (INSERT INTO texts (id, recipient, content, type) SELECT id, recipient, content, 'order.shipped' FROM f)
		INSERT INTO messages (id, created_at, updated_at, deliver_at, destination) SELECT id, at, at, at, 'default' FROM f`
	split.claim = `WITH picked AS (` + fmt.Sprintf(walks, "messages") + `), m AS (UPDATE messages AS m SET ` + queue +
		` FROM picked WHERE m.id = picked.id RETURNING m.*) SELECT * FROM m JOIN texts USING (id)`
	return []design{filters, single, bare, split, partitioned}
}

// compare takes messages through their life in each design, in turns.
func (b *bench) compare(ctx context.Context) error {
	for round := range 3 {
		for _, d := range designs() {
			if err := b.try(ctx, d); err != nil {
				return fmt.Errorf("%s, round %d: %w", d.name, round+1, err)
			}
		}
	}
	return nil
}

// try measures a design in a schema of its own, with twice as many messages
// waiting as are taken through.
func (b *bench) try(ctx context.Context, d design) error {
	migration, err := migrations.Files.ReadFile("0001_init.up.sql")
	if err != nil {
		return err
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	const schema = "design"
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), "DROP SCHEMA IF EXISTS "+schema+" CASCADE; RESET search_path; DISCARD PLANS")
	}()
	steps := append([]string{"DROP SCHEMA IF EXISTS " + schema + " CASCADE", "CREATE SCHEMA " + schema, "SET search_path = " + schema, string(migration)}, d.setup...)
	for _, step := range steps {
		if _, err := conn.Exec(ctx, step); err != nil {
			return fmt.Errorf("%.60s: %w", step, err)
		}
	}
	batches := max(b.rows/1000/2, 10)
	run := func(sql string, times, rows int, args ...any) (string, error) {
		return metered(ctx, b.pool, func() (int, error) {
			for range times {
				if _, err := conn.Exec(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...); err != nil {
					return 0, fmt.Errorf("%.60s: %w", strings.TrimSpace(sql), err)
				}
			}
			return times * rows, nil
		})
	}
	fmt.Println(d.name)
	for _, step := range []struct {
		name        string
		sql         string
		times, rows int
		args        []any
	}{
		{"insert 1,000", d.insert, 2 * batches, 1000, nil},
		{"claim 1,000", d.claim, batches, 1000, []any{1000}},
		{"claim 2", d.claim, 500, 2, []any{2}},
		{"outcome 1,000", d.outcome, batches, 1000, nil},
	} {
		if _, err := conn.Exec(ctx, "ANALYZE"); err != nil {
			return err
		}
		began := time.Now()
		spent, err := run(step.sql, step.times, step.rows, step.args...)
		if err != nil {
			return err
		}
		fmt.Printf("  %-14s %s  (%.1f s)\n", step.name, spent, time.Since(began).Seconds())
	}
	return nil
}
