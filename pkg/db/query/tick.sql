-- name: LockSchedule :one
-- Returns no row while another dispatcher runs its tick.
SELECT
    running, tick_interval, batch_size, next_tick_at,
    coalesce(next_tick_at - clock_timestamp(), interval '0')::interval AS wait,
    coalesce(trusted_timeline = server_timeline(), false)::boolean AS trusted, min_claim_number
FROM schedule FOR UPDATE SKIP LOCKED;

-- name: PullBackTick :exec
-- The clock of Postgres was set back: the next tick is at most one interval away.
UPDATE schedule SET next_tick_at = clock_timestamp() + tick_interval;

-- name: ClaimDue :many
-- The batch of a tick: due messages, highest priority first, then oldest. Each
-- priority is one walk along messages_due, so a million messages of a high
-- priority that are not yet due cost nothing. The walk starts at the watermark.
-- Below it are index entries of messages claimed before, which Postgres cannot
-- remove while anything holds an old snapshot. The margin allows for late commits.
--
-- Payloads are read only if the events contain them, up to bytes_limit bytes; the
-- other messages stay due.
WITH locked AS (
    SELECT due.id, due.priority, due.deliver_at, due.bytes FROM generate_series(9, 0, -1) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT m.id, m.priority, m.deliver_at, CASE WHEN @with_content::boolean THEN coalesce(octet_length(m.payload), 0) ELSE 0 END AS bytes
        FROM messages AS m
        WHERE m.status = 'PENDING' AND m.destination = @destination AND m.priority = level.priority
          AND m.deliver_at >= least((@watermarks::timestamptz[])[level.priority + 1], now() - @margin::interval)
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
    -- A sender may use the number in between, see RaiseClaimNumbers.
    claim_number = greatest(m.claim_number + CASE WHEN m.claim_number = 0 THEN 1 ELSE 2 END, @min_claim_number::bigint),
    replaced_claim_number = NULL,
    version = m.version + 1,
    claims_without_outcome = m.claims_without_outcome + 1,
    queued_at = clock_timestamp(),
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = clock_timestamp() + @lease::interval
FROM picked
WHERE m.id = picked.id AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

-- name: Reclaim :many
-- Emits messages again whose lease expired. The caller has made sure that no
-- delivery and no unrecorded outcome of them is left, and the claim number makes
-- sure that nothing has happened since. A locked row is having its outcome
-- recorded.
UPDATE messages AS m SET
    claim_number = greatest(m.claim_number + 2, @min_claim_number::bigint), -- a sender may use the number in between, see RaiseClaimNumbers
    replaced_claim_number = NULL,
    version = m.version + 1,
    claims_without_outcome = m.claims_without_outcome + 1,
    updated_at = clock_timestamp(),
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claim_numbers::bigint[]) AS claim_number) AS given
        ON held.id = given.id AND held.claim_number = given.claim_number
    WHERE held.status::text IN ('QUEUED', 'RETRYING') AND held.lease_until < clock_timestamp()
    ORDER BY held.lease_until
    LIMIT @batch_limit FOR UPDATE OF held SKIP LOCKED
) AS lost
WHERE m.id = lost.id
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

-- name: OpenTick :one
-- Stores the claim of a tick in the outbox. There is no further tick until it is
-- published. In the continuous mode, a tick that leaves nothing due behind opens
-- the fast path.
WITH opened AS (
    UPDATE schedule SET
        next_tick_at = NULL,
        fast_path_lease = CASE WHEN tick_interval = interval '0' AND NOT @full_batch::boolean THEN @lease::interval END
)
INSERT INTO outbox (is_claim, batch) VALUES (true, @batch) RETURNING id;

-- name: EmptyTick :exec
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp(),
    last_batch_size = 0,
    fast_path_lease = CASE WHEN tick_interval = interval '0' THEN @lease::interval END;

-- name: FinishClaim :execrows
-- The owner has published the claim, and the interval begins. After a relay took
-- the claim over, this changes nothing. The commit does not wait for the disk: if
-- a power failure undoes it, the claim is relayed once more, as after a crash just
-- before it.
WITH published AS (
    DELETE FROM outbox WHERE id = @id AND is_claim AND NOT fast_path AND relay_count = 0 RETURNING id
)
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp(),
    last_batch_size = @last_batch_size
FROM published, set_config('synchronous_commit', 'off', true);

-- name: FinishRelayedClaims :execrows
-- The ids of these claims are published. A row without a remainder is deleted. A
-- remainder contains events, which are relayed like any others and which no tick
-- waits for. Only the process that took a claim over last can finish it. The
-- interval begins now for the claim of a tick, and for a fast path claim that is
-- published after the schedule got an interval.
WITH given AS (
    SELECT
        unnest(@ids::bigint[]) AS id,
        unnest(@relay_counts::integer[]) AS relay_count,
        unnest(@remainders::bytea[]) AS remainder,
        unnest(@claim_sizes::integer[]) AS members
), done AS (
    DELETE FROM outbox AS o USING given AS g
    WHERE o.id = g.id AND o.is_claim AND o.relay_count = g.relay_count AND g.remainder = ''
    RETURNING o.id, o.fast_path
), kept AS (
    UPDATE outbox AS o SET is_claim = false, batch = g.remainder, not_before = NULL FROM given AS g
    WHERE o.id = g.id AND o.is_claim AND o.relay_count = g.relay_count AND g.remainder <> ''
    RETURNING o.id, o.fast_path
), ended AS (
    SELECT id, fast_path FROM done UNION ALL SELECT id, fast_path FROM kept
), ticks AS (
    SELECT sum(given.members)::integer AS n FROM ended JOIN given ON given.id = ended.id WHERE NOT ended.fast_path -- NULL: none is from a tick
)
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = CASE WHEN ticks.n IS NULL THEN last_tick_at ELSE clock_timestamp() END,
    last_batch_size = coalesce(ticks.n, last_batch_size)
FROM ticks
WHERE ticks.n IS NOT NULL
   OR (EXISTS (SELECT FROM ended) AND tick_interval > interval '0' AND next_tick_at < clock_timestamp() + tick_interval);

-- name: CloseLostClaim :execrows
-- A claim is open but its outbox row is gone: deleted by hand, or lost in a
-- restore. Its messages are reclaimed when their leases expire, and an interval
-- begins.
UPDATE schedule SET
    next_tick_at = clock_timestamp() + tick_interval,
    last_tick_at = clock_timestamp()
WHERE next_tick_at IS NULL
  AND NOT EXISTS (SELECT FROM outbox WHERE is_claim AND NOT fast_path);

-- name: RaiseClaimNumbers :many
-- A relay gives new claim numbers to ids that were not published. The gate drops
-- every delivery with an old number. The number increases by two: a sender that
-- did get the old delivery parks its retry with the number in between. A locked
-- row is having its outcome recorded, and the next relay sees the result; waiting
-- for it could deadlock.
UPDATE messages AS m SET
    claim_number = greatest(m.claim_number + 2, (SELECT s.min_claim_number FROM schedule AS s)),
    replaced_claim_number = coalesce(m.replaced_claim_number, m.claim_number),
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claim_numbers::bigint[]) AS claim_number) AS given
        ON held.id = given.id AND held.claim_number = given.claim_number
    WHERE held.status::text IN ('QUEUED', 'RETRYING')
    FOR UPDATE OF held SKIP LOCKED
) AS kept
WHERE m.id = kept.id
RETURNING m.id, m.claim_number;

-- name: RenewLeases :exec
-- A lease starts at publication, and a relay publishes late. A locked row is
-- having its outcome recorded and needs no lease; waiting for it could deadlock.
UPDATE messages AS m SET lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claim_numbers::bigint[]) AS claim_number) AS given
        ON held.id = given.id AND held.claim_number = given.claim_number
    WHERE held.status::text IN ('QUEUED', 'RETRYING')
    FOR UPDATE OF held SKIP LOCKED
) AS kept
WHERE m.id = kept.id;
