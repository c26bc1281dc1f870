-- name: LockSchedule :one
-- No row while another dispatcher is in its tick.
SELECT
    running, tick_interval, batch_size, next_tick_at,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait
FROM schedule FOR UPDATE SKIP LOCKED;

-- name: PullBackTick :exec
-- Postgres' clock was set back: no tick is further away than an interval.
UPDATE schedule SET next_tick_at = clock_timestamp() + tick_interval;

-- name: ClaimDue :many
-- The batch of a tick: due, highest priority first, then oldest. Each
-- priority is one walk along messages_due, so that a million messages of a
-- high priority that are not yet due cost nothing. It begins at the floor: the
-- entries of what was claimed before lie below, and can't be removed while
-- somebody holds a snapshot from before. What commits late has a margin.
WITH picked AS (
    SELECT due.id FROM generate_series(9, 0, -1) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT m.id FROM messages AS m
        WHERE m.status = 'PENDING' AND m.destination = @destination AND m.priority = level.priority
          AND m.deliver_at >= least((@floors::timestamptz[])[level.priority + 1], now() - @margin::interval)
          AND m.deliver_at <= now() AND (m.expires_at IS NULL OR m.expires_at > now())
        ORDER BY m.deliver_at, m.id
        LIMIT @batch_size FOR UPDATE SKIP LOCKED
    ) AS due
    LIMIT @batch_size
)
UPDATE messages AS m SET
    status = 'QUEUED',
    claim = m.claim + 1,
    version = m.version + 1,
    fruitless = m.fruitless + 1,
    queued_at = clock_timestamp(),
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = clock_timestamp() + @lease::interval
FROM picked
WHERE m.id = picked.id AND m.status::text = ANY(@before::text[])
RETURNING m.*;

-- name: Reclaim :many
-- Emits anew what lost its lease. The sweep has made sure that no copy and
-- no unrecorded outcome is left; the claim number makes sure that nothing
-- has happened since. A row that is locked is having an outcome recorded.
UPDATE messages AS m SET
    claim = m.claim + 1,
    version = m.version + 1,
    fruitless = m.fruitless + 1,
    updated_at = clock_timestamp(),
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON held.id = given.id AND held.claim = given.claim
    WHERE held.status::text IN ('QUEUED', 'RETRYING') AND held.lease_until < clock_timestamp()
    ORDER BY held.lease_until
    LIMIT @batch_limit FOR UPDATE OF held SKIP LOCKED
) AS lost
WHERE m.id = lost.id
RETURNING m.*;

-- name: OpenTick :one
-- A claim is made: what it publishes is put into the outbox, and there is no
-- further tick until it is published. In the continuous mode, one that left
-- nothing behind lets what arrives be emitted at once.
WITH opened AS (
    UPDATE schedule SET
        next_tick_at = NULL,
        arrival_lease = CASE WHEN tick_interval = interval '0' AND NOT @full_batch::boolean THEN @lease::interval END
)
INSERT INTO outbox (is_claim, batch) VALUES (true, @batch) RETURNING id;

-- name: EmptyTick :exec
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp(),
    last_batch = 0,
    arrival_lease = CASE WHEN tick_interval = interval '0' THEN @lease::interval END;

-- name: FinishClaim :execrows
-- The claim is published: the interval begins. Whoever comes second, owner
-- or relay, finds the row gone and changes nothing. The commit waits for no
-- disk: should a power cut take it back, the claim is relayed once more, as
-- after a crash just before it.
WITH published AS (
    DELETE FROM outbox WHERE id = @id AND is_claim AND NOT on_arrival RETURNING id
)
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp(),
    last_batch = @last_batch
FROM published, set_config('synchronous_commit', 'off', true);

-- name: RenewLeases :exec
-- The lease runs from publication, and a relay publishes late. A row that is
-- locked is having its outcome recorded and needs no lease; waiting for it
-- could end in a deadlock.
UPDATE messages AS m SET lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON held.id = given.id AND held.claim = given.claim
    WHERE held.status::text IN ('QUEUED', 'RETRYING')
    FOR UPDATE OF held SKIP LOCKED
) AS kept
WHERE m.id = kept.id;
