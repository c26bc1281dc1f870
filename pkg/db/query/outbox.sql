-- name: InsertOutbox :one
INSERT INTO outbox (batch) VALUES (@batch) RETURNING id;

-- name: DeletePublished :exec
-- The commit waits for no disk: rows that a power cut brings back are
-- published once more, which is harmless.
DELETE FROM outbox
USING set_config('synchronous_commit', 'off', true)
WHERE id = ANY(@ids::bigint[]) AND NOT is_claim;

-- name: LockAbandoned :many
-- What its owner has had time to publish and has not. A row from the future
-- is there when Postgres' clock was set back: its age is unknown, and waiting
-- for the clock would hold up the pace for as long. Rows that another
-- dispatcher relays at this moment are skipped. A round goes on after the
-- last row of the round before, so that rows which can't be published don't
-- stand in the way of the rest.
SELECT id, is_claim, batch FROM outbox
WHERE id > @after AND (created_at < clock_timestamp() - @age::interval OR created_at > clock_timestamp())
ORDER BY id LIMIT @batch_limit FOR UPDATE SKIP LOCKED;

-- name: UnpublishedClaims :many
-- One at most: no tick runs while there is one.
SELECT id, batch, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds
FROM outbox WHERE is_claim ORDER BY id;

-- name: OutboxBacklog :one
SELECT count(*) AS batches, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_seconds FROM outbox;
