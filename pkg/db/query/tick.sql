-- name: LockSchedule :one
-- No row while another dispatcher is in its tick.
SELECT
    running, tick_interval, batch_size, next_tick_at,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait,
    coalesce(timeline = server_timeline(), false)::boolean AS trusted, claims_from
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
-- Payloads are read only where the events need them, and then of no more
-- messages than have so many bytes before them; the others stay due.
WITH locked AS (
    SELECT due.id, due.priority, due.deliver_at, due.bytes FROM generate_series(9, 0, -1) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT m.id, m.priority, m.deliver_at, CASE WHEN @with_content::boolean THEN coalesce(octet_length(m.payload), 0) ELSE 0 END AS bytes
        FROM messages AS m
        WHERE m.status = 'PENDING' AND m.destination = @destination AND m.priority = level.priority
          AND m.deliver_at >= least((@floors::timestamptz[])[level.priority + 1], now() - @margin::interval)
          AND m.deliver_at <= now() AND (m.expires_at IS NULL OR m.expires_at > now())
        ORDER BY m.deliver_at, m.id
        LIMIT @batch_size FOR UPDATE SKIP LOCKED
    ) AS due
    LIMIT @batch_size
), picked AS (
    SELECT weighed.id FROM (
        SELECT locked.id, locked.bytes, sum(locked.bytes) OVER (ORDER BY locked.priority DESC, locked.deliver_at, locked.id) AS upto FROM locked
    ) AS weighed
    WHERE weighed.upto - weighed.bytes < @bytes_limit::bigint
)
UPDATE messages AS m SET
    status = 'QUEUED',
    -- A sender may use the number between, see RaiseClaims.
    claim = greatest(m.claim + CASE WHEN m.claim = 0 THEN 1 ELSE 2 END, @claims_from::bigint),
    relayed_from = NULL,
    version = m.version + 1,
    fruitless = m.fruitless + 1,
    queued_at = clock_timestamp(),
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = clock_timestamp() + @lease::interval
FROM picked
WHERE m.id = picked.id AND m.status::text = ANY(@before::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

-- name: Reclaim :many
-- Emits anew what lost its lease. The sweep has made sure that no copy and
-- no unrecorded outcome is left; the claim number makes sure that nothing
-- has happened since. A row that is locked is having an outcome recorded.
UPDATE messages AS m SET
    claim = greatest(m.claim + 2, @claims_from::bigint), -- a sender may use the number between, see RaiseClaims
    relayed_from = NULL,
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
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

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
-- The claim is published by its owner: the interval begins. An owner that comes
-- after a relay has taken the claim changes nothing. The commit does not wait
-- for the disk: if a power cut undoes it, the claim is relayed once more, as
-- after a crash just before it.
WITH published AS (
    DELETE FROM outbox WHERE id = @id AND is_claim AND NOT on_arrival AND relays = 0 RETURNING id
)
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp(),
    last_batch = @last_batch
FROM published, set_config('synchronous_commit', 'off', true);

-- name: EndClaims :execrows
-- The ids of these claims are published. A row whose rest is empty is done with;
-- the rest of the others is events, which are relayed like any others and which
-- no tick waits for. Only who took a claim last ends it. For a tick's claim the
-- interval begins; so it does for ids that were emitted on arrival and are
-- published only now, after the pace was given an interval.
WITH given AS (
    SELECT
        unnest(@ids::bigint[]) AS id,
        unnest(@relays::integer[]) AS relays,
        unnest(@rests::bytea[]) AS rest,
        unnest(@sizes::integer[]) AS members
), done AS (
    DELETE FROM outbox AS o USING given AS g
    WHERE o.id = g.id AND o.is_claim AND o.relays = g.relays AND g.rest = ''
    RETURNING o.id, o.on_arrival
), kept AS (
    UPDATE outbox AS o SET is_claim = false, batch = g.rest, not_before = NULL FROM given AS g
    WHERE o.id = g.id AND o.is_claim AND o.relays = g.relays AND g.rest <> ''
    RETURNING o.id, o.on_arrival
), ended AS (
    SELECT id, on_arrival FROM done UNION ALL SELECT id, on_arrival FROM kept
), ticks AS (
    SELECT sum(given.members)::integer AS n FROM ended JOIN given ON given.id = ended.id WHERE NOT ended.on_arrival -- NULL: no tick's
)
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = CASE WHEN ticks.n IS NULL THEN last_tick_at ELSE clock_timestamp() END,
    last_batch = coalesce(ticks.n, last_batch)
FROM ticks
WHERE ticks.n IS NOT NULL
   OR (EXISTS (SELECT FROM ended) AND tick_interval > interval '0' AND next_tick_at < clock_timestamp() + tick_interval);

-- name: CloseLostClaim :execrows
-- A claim is open and its outbox row is gone: deleted by hand, or lost with a
-- restore. The lease brings its messages back, and an interval begins.
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp()
WHERE next_tick_at IS NULL
  AND NOT EXISTS (SELECT FROM outbox WHERE is_claim AND NOT on_arrival);

-- name: RaiseClaims :many
-- A relay takes a new claim number for ids that were not published. The gate
-- drops whatever comes under the old one, however late. The number rises by two:
-- a sender that had the delivery after all parks a retry under the one between.
-- A row that is locked is having its outcome recorded: the next relay sees what
-- became of it. (Waiting for it could end in a deadlock.)
UPDATE messages AS m SET
    claim = greatest(m.claim + 2, (SELECT s.claims_from FROM schedule AS s)),
    relayed_from = coalesce(m.relayed_from, m.claim),
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON held.id = given.id AND held.claim = given.claim
    WHERE held.status::text IN ('QUEUED', 'RETRYING')
    FOR UPDATE OF held SKIP LOCKED
) AS kept
WHERE m.id = kept.id
RETURNING m.id, m.claim;

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
