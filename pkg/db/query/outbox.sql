-- name: InsertOutbox :one
INSERT INTO outbox (batch, is_claim, fast_path) VALUES (@batch, @fast_path, @fast_path) RETURNING id;

-- name: DeletePublished :exec
-- The commit does not wait for the disk. Rows that a power failure brings back are
-- published again, which is harmless. A claim that a relay took over belongs to
-- the relay. If a fast path claim is published after the schedule got an interval,
-- the interval starts now.
WITH published AS (
    DELETE FROM outbox
    USING set_config('synchronous_commit', 'off', true)
    WHERE id = ANY(@ids::bigint[]) AND (NOT is_claim OR fast_path AND relay_count = 0)
    RETURNING is_claim
)
UPDATE schedule SET next_tick_at = clock_timestamp() + tick_interval
WHERE tick_interval > interval '0' AND next_tick_at < clock_timestamp() + tick_interval
  AND EXISTS (SELECT FROM published WHERE is_claim);

-- name: LockAbandonedEvents :many
-- Rows of events whose writer did not publish them in time, without those that
-- another dispatcher relays at the moment. If the clock of Postgres was set back,
-- a row can be from the future, and its age is unknown. Each round continues after
-- the last row of the previous round, so rows that cannot be published do not
-- block the others. Nothing is relayed while commits may be lost, because
-- messages may then be older than what was published. A page ends as in LockOutbox.
WITH locked AS (
    SELECT id, batch FROM outbox
    WHERE id > @after AND NOT is_claim
      AND CASE WHEN not_before IS NULL
          THEN created_at < clock_timestamp() - @age::interval OR created_at > clock_timestamp()
          ELSE not_before < clock_timestamp() OR not_before > clock_timestamp() + @retry_after::interval END
      AND NOT EXISTS (SELECT FROM schedule WHERE trusted_timeline IS DISTINCT FROM server_timeline())
    ORDER BY id LIMIT @batch_limit FOR UPDATE SKIP LOCKED
), weighed AS (
    SELECT locked.id, sum(octet_length(locked.batch)) OVER (ORDER BY locked.id) - octet_length(locked.batch) AS bytes_before FROM locked
)
SELECT locked.id, locked.batch, (SELECT count(*) FROM locked) AS found
FROM locked JOIN weighed ON weighed.id = locked.id
WHERE weighed.bytes_before < @bytes_limit::bigint ORDER BY locked.id;

-- name: KeepRemainders :exec
-- Keeps what NATS did not accept, to be published again now or later.
UPDATE outbox AS o SET batch = g.remainder, not_before = clock_timestamp() + sqlc.narg(retry_after)::interval
FROM (SELECT unnest(@ids::bigint[]) AS id, unnest(@remainders::bytea[]) AS remainder) AS g
WHERE o.id = g.id AND NOT o.is_claim;

-- name: AbandonedClaims :many
-- Claims whose owner did not publish them in time. If the clock of Postgres was
-- set back, a claim can be from the future; waiting for the clock would delay the
-- schedule for that long. A page ends as in LockOutbox.
SELECT claims.id, claims.relay_count, claims.batch, claims.age_seconds FROM (
    SELECT id, relay_count, batch, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds,
        sum(octet_length(batch)) OVER (ORDER BY id) - octet_length(batch) AS bytes_before
    FROM (
        SELECT o.id, o.relay_count, o.batch, o.created_at FROM outbox AS o
        WHERE o.is_claim AND o.id >= @watermark
          AND CASE WHEN o.not_before IS NULL
              THEN o.created_at < clock_timestamp() - @age::interval OR o.created_at > clock_timestamp()
              ELSE o.not_before < clock_timestamp() OR o.not_before > clock_timestamp() + @age::interval END
          AND NOT EXISTS (SELECT FROM schedule WHERE trusted_timeline IS DISTINCT FROM server_timeline())
        ORDER BY o.id LIMIT @batch_limit
    ) AS abandoned
) AS claims
WHERE claims.bytes_before < @bytes_limit::bigint
ORDER BY claims.id;

-- name: LockClaims :many
-- Those claims that nobody took over or finished in the meantime. The batch is
-- read again because an erasure may have changed it.
SELECT o.id, o.batch FROM outbox AS o
JOIN (SELECT unnest(@ids::bigint[]) AS id, unnest(@relay_counts::integer[]) AS relay_count) AS g ON o.id = g.id AND o.relay_count = g.relay_count
WHERE o.is_claim
  AND NOT EXISTS (SELECT FROM schedule WHERE trusted_timeline IS DISTINCT FROM server_timeline())
ORDER BY o.id FOR UPDATE OF o SKIP LOCKED;

-- name: TakeOverClaims :exec
-- Makes the caller the owner of the claims for a while.
UPDATE outbox AS o SET batch = g.batch, relay_count = o.relay_count + 1, not_before = clock_timestamp() + @age::interval
FROM (SELECT unnest(@ids::bigint[]) AS id, unnest(@batches::bytea[]) AS batch) AS g
WHERE o.id = g.id;

-- name: UnpublishedClaims :many
-- At most one of these is from a tick: the next tick waits until it is published.
SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds
FROM outbox
WHERE is_claim AND (created_at <= clock_timestamp() - @age::interval OR created_at > clock_timestamp())
ORDER BY id;

-- name: HasFastPathClaims :one
SELECT EXISTS (SELECT FROM outbox WHERE is_claim AND fast_path) AS has;

-- name: OutboxBacklog :one
-- Reads all rows, including dead ones. last_id is the highest id given out.
SELECT
    count(*) AS batches,
    coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_seconds,
    coalesce(min(id), 0)::bigint AS first_id,
    coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')::regclass), 0)::bigint AS last_id
FROM outbox;
