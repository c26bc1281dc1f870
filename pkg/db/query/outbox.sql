-- name: InsertOutbox :one
INSERT INTO outbox (batch, is_claim, on_arrival) VALUES (@batch, @emits, @emits) RETURNING id;

-- name: DeletePublished :exec
-- The commit does not wait for the disk: rows that a power cut brings back are
-- published once more, which is harmless. A claim that a relay has taken is the
-- relay's to end. What was emitted on arrival and is published only now, after
-- the pace was given an interval, begins one.
WITH published AS (
    DELETE FROM outbox
    USING set_config('synchronous_commit', 'off', true)
    WHERE id = ANY(@ids::bigint[]) AND (NOT is_claim OR on_arrival AND relays = 0)
    RETURNING is_claim
)
UPDATE schedule SET next_tick_at = clock_timestamp() + tick_interval
WHERE tick_interval > interval '0' AND next_tick_at < clock_timestamp() + tick_interval
  AND EXISTS (SELECT FROM published WHERE is_claim);

-- name: LockAbandoned :many
-- Events that their owner has had time to publish and has not. A row from the
-- future is there when Postgres' clock was set back: its age is unknown. Rows
-- that another dispatcher relays at this moment are skipped. A round goes on
-- after the last row of the round before, so that rows which can't be published
-- don't stand in the way of the rest. None is relayed while commits may be lost:
-- the states of messages may be older than what was published. They come in pages of so many bytes
-- besides their first row.
WITH locked AS (
    SELECT id, batch FROM outbox
    WHERE id > @after AND NOT is_claim
      AND CASE WHEN not_before IS NULL
          THEN created_at < clock_timestamp() - @age::interval OR created_at > clock_timestamp()
          ELSE not_before < clock_timestamp() OR not_before > clock_timestamp() + @again::interval END
      AND NOT EXISTS (SELECT FROM schedule WHERE timeline IS DISTINCT FROM server_timeline())
    ORDER BY id LIMIT @batch_limit FOR UPDATE SKIP LOCKED
), weighed AS (
    SELECT locked.id, sum(octet_length(locked.batch)) OVER (ORDER BY locked.id) - octet_length(locked.batch) AS bytes_before FROM locked
)
SELECT locked.id, locked.batch, (SELECT count(*) FROM locked) AS found
FROM locked JOIN weighed ON weighed.id = locked.id
WHERE weighed.bytes_before < @bytes_limit::bigint ORDER BY locked.id;

-- name: KeepRests :exec
-- What NATS did not take is tried again, at once or later; what it took is left
-- out.
UPDATE outbox AS o SET batch = g.rest, not_before = clock_timestamp() + sqlc.narg(again)::interval
FROM (SELECT unnest(@ids::bigint[]) AS id, unnest(@rests::bytea[]) AS rest) AS g
WHERE o.id = g.id AND NOT o.is_claim;

-- name: AbandonedClaims :many
-- Claims that whoever had them last has had time to publish and has not. One
-- from the future is there when Postgres' clock was set back: waiting for the
-- clock would hold up the pace for as long. They come in pages as above.
SELECT claims.id, claims.relays, claims.batch, claims.age_seconds FROM (
    SELECT id, relays, batch, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds,
        sum(octet_length(batch)) OVER (ORDER BY id) - octet_length(batch) AS bytes_before
    FROM (
        SELECT o.id, o.relays, o.batch, o.created_at FROM outbox AS o
        WHERE o.is_claim AND o.id >= @watermark
          AND CASE WHEN o.not_before IS NULL
              THEN o.created_at < clock_timestamp() - @age::interval OR o.created_at > clock_timestamp()
              ELSE o.not_before < clock_timestamp() OR o.not_before > clock_timestamp() + @age::interval END
          AND NOT EXISTS (SELECT FROM schedule WHERE timeline IS DISTINCT FROM server_timeline())
        ORDER BY o.id LIMIT @batch_limit
    ) AS abandoned
) AS claims
WHERE claims.bytes_before < @bytes_limit::bigint
ORDER BY claims.id;

-- name: LockClaims :many
-- Those of them that nobody has taken or ended meanwhile. The batch is read
-- again: an erasure may have changed it.
SELECT o.id, o.batch FROM outbox AS o
JOIN (SELECT unnest(@ids::bigint[]) AS id, unnest(@relays::integer[]) AS relays) AS g ON o.id = g.id AND o.relays = g.relays
WHERE o.is_claim
  AND NOT EXISTS (SELECT FROM schedule WHERE timeline IS DISTINCT FROM server_timeline())
ORDER BY o.id FOR UPDATE OF o SKIP LOCKED;

-- name: TakeClaims :exec
-- Theirs for a while is who takes them.
UPDATE outbox AS o SET batch = g.batch, relays = o.relays + 1, not_before = clock_timestamp() + @age::interval
FROM (SELECT unnest(@ids::bigint[]) AS id, unnest(@batches::bytea[]) AS batch) AS g
WHERE o.id = g.id;

-- name: UnpublishedClaims :many
-- Of a tick's there is one at most: no other runs before it is published.
SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds
FROM outbox
WHERE is_claim AND (created_at <= clock_timestamp() - @age::interval OR created_at > clock_timestamp())
ORDER BY id;

-- name: HasArrivals :one
SELECT EXISTS (SELECT FROM outbox WHERE is_claim AND on_arrival) AS has;

-- name: OutboxBacklog :one
-- It looks at all rows, dead ones too. last_id is the highest that was given
-- out.
SELECT
    count(*) AS batches,
    coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_seconds,
    coalesce(min(id), 0)::bigint AS first_id,
    coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')::regclass), 0)::bigint AS last_id
FROM outbox;
