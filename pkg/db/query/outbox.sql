-- name: InsertOutbox :one
INSERT INTO outbox (batch, is_claim, on_arrival) VALUES (@batch, @emits, @emits) RETURNING id;

-- name: DeletePublished :exec
-- The commit waits for no disk: rows that a power cut brings back are
-- published once more, which is harmless. What was emitted on arrival and is
-- published only now, after the pace was given an interval, begins one.
WITH published AS (
    DELETE FROM outbox
    USING set_config('synchronous_commit', 'off', true)
    WHERE id = ANY(@ids::bigint[]) AND (on_arrival OR NOT is_claim)
    RETURNING on_arrival
)
UPDATE schedule SET next_tick_at = clock_timestamp() + tick_interval
WHERE tick_interval > interval '0' AND next_tick_at < clock_timestamp() + tick_interval
  AND EXISTS (SELECT FROM published WHERE on_arrival);

-- name: LockAbandoned :many
-- What its owner has had time to publish and has not. A row from the future
-- is there when Postgres' clock was set back: its age is unknown, and waiting
-- for the clock would hold up the pace for as long. Rows that another
-- dispatcher relays at this moment are skipped. A round goes on after the
-- last row of the round before, so that rows which can't be published don't
-- stand in the way of the rest.
SELECT id, is_claim, on_arrival, batch FROM outbox
WHERE id > @after AND (created_at < clock_timestamp() - @age::interval OR created_at > clock_timestamp())
ORDER BY id LIMIT @batch_limit FOR UPDATE SKIP LOCKED;

-- name: UnpublishedClaims :many
-- Of a tick's there is one at most: no other runs before it is published.
SELECT id, batch, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds
FROM outbox
WHERE is_claim AND (created_at <= clock_timestamp() - @age::interval OR created_at > clock_timestamp())
ORDER BY id;

-- name: HasArrivals :one
SELECT EXISTS (SELECT FROM outbox WHERE is_claim AND on_arrival) AS has;

-- name: OutboxBacklog :one
SELECT count(*) AS batches, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_seconds FROM outbox;
