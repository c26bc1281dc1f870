-- name: ProvisionSchedule :exec
-- The first start sets the environment's values; later ones only where they
-- differ from what the environment said last, so that a PATCH outlives a
-- restart. A shorter interval must not wait for a tick of the longer one.
INSERT INTO schedule AS s (tick_interval, batch_size, applied_interval, applied_batch_size)
VALUES (@tick_interval, sqlc.narg(batch_size), @tick_interval, sqlc.narg(batch_size))
ON CONFLICT (singleton) DO UPDATE SET
    tick_interval = CASE WHEN s.applied_interval IS DISTINCT FROM excluded.tick_interval THEN excluded.tick_interval ELSE s.tick_interval END,
    batch_size = CASE WHEN s.applied_batch_size IS DISTINCT FROM excluded.batch_size THEN excluded.batch_size ELSE s.batch_size END,
    next_tick_at = CASE WHEN s.next_tick_at IS NOT NULL AND s.applied_interval IS DISTINCT FROM excluded.tick_interval
        THEN least(s.next_tick_at, s.last_tick_at + excluded.tick_interval) ELSE s.next_tick_at END,
    applied_interval = excluded.applied_interval,
    applied_batch_size = excluded.applied_batch_size,
    arrival_lease = NULL;

-- name: CloseArrivals :exec
-- Waits for those who may be emitting on arrival, and keeps others from it
-- until the transaction ends (see tryArrivals).
SELECT pg_advisory_xact_lock(@lock::bigint);

-- name: SetRunning :one
UPDATE schedule AS s SET running = @running, arrival_lease = NULL
FROM (SELECT running FROM schedule FOR UPDATE) AS old
RETURNING (old.running <> s.running)::boolean AS changed;

-- name: Configure :execrows
-- The next tick comes at the earlier of its old time and the last tick plus
-- the new interval. NULL stays NULL: a claim is being published, and its
-- publisher sets the tick by the new interval.
UPDATE schedule SET
    arrival_lease = NULL,
    tick_interval = coalesce(sqlc.narg(tick_interval), tick_interval),
    batch_size = coalesce(sqlc.narg(batch_size), batch_size),
    next_tick_at = CASE WHEN next_tick_at IS NULL THEN NULL ELSE
        least(next_tick_at, coalesce(last_tick_at, clock_timestamp()) + coalesce(sqlc.narg(tick_interval), tick_interval)) END;

-- name: GetSchedule :one
SELECT
    running, tick_interval, batch_size, next_tick_at, last_tick_at, last_batch,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait
FROM schedule;

-- name: Pace :one
-- What the tick loop looks at before it takes the lock.
-- lost: the open claim is not in the outbox any more.
SELECT
    running, tick_interval, (next_tick_at IS NULL)::boolean AS open,
    (next_tick_at IS NULL AND NOT EXISTS (SELECT FROM outbox WHERE is_claim AND NOT on_arrival))::boolean AS lost,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait,
    coalesce(timeline = server_timeline(), false)::boolean AS trusted
FROM schedule;

-- name: CountByStatus :many
-- Rows of transactions before the watermark are folded: only their dead
-- versions can be left. The next watermark is for the next reader: what this
-- statement does not see was written by a transaction that its snapshot takes
-- for uncommitted, or by a later one.
WITH live AS MATERIALIZED (
    SELECT status, n, written_by FROM status_counts
    WHERE written_by >= (@watermark::text)::xid8 OR written_by = ANY((@uncommitted::text[])::xid8[])
)
SELECT
    status, sum(n)::bigint AS n,
    least(pg_snapshot_xmax(pg_current_snapshot()), (SELECT written_by FROM live ORDER BY written_by LIMIT 1))::text AS next_watermark,
    ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot())::text)::text[] AS next_uncommitted
FROM live
GROUP BY status;

-- name: FoldCounts :one
-- Without this the differences would pile up. Two at once are harmless: the
-- second finds the rows gone. What is left afterwards was written by this
-- transaction, by one that this statement's snapshot took for uncommitted, or
-- by a later one.
WITH folded AS (
    DELETE FROM status_counts
    WHERE written_by >= (@watermark::text)::xid8 OR written_by = ANY((@uncommitted::text[])::xid8[])
    RETURNING destination, status, n
), inserted AS (
    INSERT INTO status_counts
    SELECT destination, status, sum(n) FROM folded GROUP BY destination, status HAVING sum(n) <> 0
)
SELECT
    pg_snapshot_xmax(pg_current_snapshot())::text AS watermark,
    ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot())::text
          UNION SELECT pg_current_xact_id()::text)::text[] AS uncommitted;

-- name: OldestPending :one
-- One step down messages_due for each priority. What has expired waits for
-- the sweep alone. The walks begin at the claim's floor.
SELECT oldest.deliver_at, (oldest.deliver_at - clock_timestamp())::interval AS wait
FROM generate_series(9, 0, -1) AS level (priority)
CROSS JOIN LATERAL (
    SELECT m.deliver_at FROM messages AS m
    WHERE m.status = 'PENDING' AND m.destination = @destination AND m.priority = level.priority
      AND m.deliver_at >= least((@floors::timestamptz[])[level.priority + 1], now() - @margin::interval)
      AND (m.expires_at IS NULL OR m.expires_at > now())
    ORDER BY m.deliver_at LIMIT 1
) AS oldest
ORDER BY oldest.deliver_at LIMIT 1;
