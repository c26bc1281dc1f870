-- name: ProvisionSchedule :exec
-- The first call stores the values of the environment. Later calls apply only
-- values that differ from those applied last, so a change by the API survives a
-- restart. A shorter interval does not wait for a tick of the longer one.
INSERT INTO schedule AS s (tick_interval, batch_size, provisioned_interval, provisioned_batch_size)
VALUES (@tick_interval, sqlc.narg(batch_size), @tick_interval, sqlc.narg(batch_size))
ON CONFLICT (singleton) DO UPDATE SET
    tick_interval = CASE WHEN s.provisioned_interval IS DISTINCT FROM excluded.tick_interval THEN excluded.tick_interval ELSE s.tick_interval END,
    batch_size = CASE WHEN s.provisioned_batch_size IS DISTINCT FROM excluded.batch_size THEN excluded.batch_size ELSE s.batch_size END,
    next_tick_at = CASE WHEN s.next_tick_at IS NOT NULL AND s.provisioned_interval IS DISTINCT FROM excluded.tick_interval
        THEN least(s.next_tick_at, s.last_tick_at + excluded.tick_interval) ELSE s.next_tick_at END,
    provisioned_interval = excluded.provisioned_interval,
    provisioned_batch_size = excluded.provisioned_batch_size,
    fast_path_lease = NULL;

-- name: LockFastPath :exec
-- Waits for every transaction that may be using the fast path, and keeps others
-- from using it until this transaction ends (see tryFastPath).
SELECT pg_advisory_xact_lock(@lock::bigint);

-- name: SetRunning :one
UPDATE schedule AS s SET running = @running, fast_path_lease = NULL
FROM (SELECT running FROM schedule FOR UPDATE) AS old
RETURNING (old.running <> s.running)::boolean AS changed;

-- name: Configure :execrows
-- The next tick runs at the earlier of its old time and the last tick plus the new
-- interval. NULL stays NULL: a claim is being published, and its publisher sets
-- the next tick from the new interval.
UPDATE schedule SET
    fast_path_lease = NULL,
    tick_interval = coalesce(sqlc.narg(tick_interval), tick_interval),
    batch_size = coalesce(sqlc.narg(batch_size), batch_size),
    next_tick_at = CASE WHEN next_tick_at IS NULL THEN NULL ELSE
        least(next_tick_at, coalesce(last_tick_at, clock_timestamp()) + coalesce(sqlc.narg(tick_interval), tick_interval)) END;

-- name: GetSchedule :one
SELECT
    running, tick_interval, batch_size, next_tick_at, last_tick_at, last_batch_size,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait
FROM schedule;

-- name: Pace :one
-- What the tick loop reads before it takes the lock. claim_lost: the open claim
-- is no longer in the outbox.
SELECT
    running, tick_interval, (next_tick_at IS NULL)::boolean AS claim_open,
    (next_tick_at IS NULL AND NOT EXISTS (SELECT FROM outbox WHERE is_claim AND NOT fast_path))::boolean AS claim_lost,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait,
    coalesce(trusted_timeline = server_timeline(), false)::boolean AS trusted
FROM schedule;

-- name: CountByStatus :many
-- Rows of transactions before the watermark are folded, and only their dead
-- versions can remain. The next watermark is for the next reader. This statement
-- misses only rows of transactions that its snapshot treats as uncommitted, and of
-- later ones.
WITH live AS MATERIALIZED (
    SELECT status, difference, written_by FROM status_counts
    WHERE written_by >= (@watermark::text)::xid8 OR written_by = ANY((@uncommitted::text[])::xid8[])
)
SELECT
    status, sum(difference)::bigint AS n,
    least(pg_snapshot_xmax(pg_current_snapshot()), (SELECT written_by FROM live ORDER BY written_by LIMIT 1))::text AS next_watermark,
    ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot())::text)::text[] AS next_uncommitted
FROM live
GROUP BY status;

-- name: FoldCounts :one
-- Replaces the rows by their sums, so that they do not accumulate. Two calls at
-- once are harmless: the second one finds the rows gone. All remaining rows are
-- from this transaction, from one that its snapshot treats as uncommitted, or from
-- a later one.
WITH folded AS (
    DELETE FROM status_counts
    WHERE written_by >= (@watermark::text)::xid8 OR written_by = ANY((@uncommitted::text[])::xid8[])
    RETURNING destination, status, difference
), inserted AS (
    INSERT INTO status_counts
    SELECT destination, status, sum(difference) FROM folded GROUP BY destination, status HAVING sum(difference) <> 0
)
SELECT
    pg_snapshot_xmax(pg_current_snapshot())::text AS watermark,
    ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot())::text
          UNION SELECT pg_current_xact_id()::text)::text[] AS uncommitted;

-- name: OldestPending :one
-- One step down messages_due for each priority, from the watermark of the claim
-- on. It ignores expired messages, which only the expirer handles.
SELECT oldest.deliver_at, (oldest.deliver_at - clock_timestamp())::interval AS wait
FROM generate_series(9, 0, -1) AS level (priority)
CROSS JOIN LATERAL (
    SELECT m.deliver_at FROM messages AS m
    WHERE m.status = 'PENDING' AND m.destination = @destination AND m.priority = level.priority
      AND m.deliver_at >= least((@watermarks::timestamptz[])[level.priority + 1], now() - @margin::interval)
      AND (m.expires_at IS NULL OR m.expires_at > now())
    ORDER BY m.deliver_at LIMIT 1
) AS oldest
ORDER BY oldest.deliver_at LIMIT 1;
