-- name: InsertMessages :many
-- A group of new messages. Empty strings and the zero time stand for NULL,
-- since an array parameter can't hold both. A conflict on id (a redelivery
-- from the intake stream) or on the idempotency key inserts nothing.
-- What is due is Postgres' time: an ingest whose clock is ahead would delay its
-- messages. Nothing is due before it is stored: the claim passes over what
-- lies far behind it (see Floor).
-- In the continuous mode, while nothing that is due waits, what is due when it
-- arrives is claimed at once (see tryArrivals): the row is what a tick would
-- have made of it.
INSERT INTO messages (
    id, created_at, updated_at, deliver_at, expires_at, priority, destination,
    recipient, content, payload, type, metadata, scope, idempotency_key, body_hash,
    traceparent, tracestate,
    status, version, claim, fruitless, queued_at, lease_until
)
SELECT
    n.id, n.created_at, now(), greatest(n.deliver_at, now()),
    nullif(n.expires_at, '0001-01-01 00:00:00+00'),
    n.priority, n.destination, n.recipient,
    nullif(n.content, ''), nullif(n.payload, ''), nullif(n.type, ''), nullif(n.metadata, '')::jsonb,
    CASE WHEN n.idempotency_key <> '' THEN n.scope END, nullif(n.idempotency_key, ''), nullif(n.body_hash, ''),
    nullif(n.traceparent, ''), nullif(n.tracestate, ''),
    CASE WHEN n.lease IS NULL THEN 'PENDING' ELSE 'QUEUED' END::message_status,
    CASE WHEN n.lease IS NULL THEN 1 ELSE 2 END,
    CASE WHEN n.lease IS NULL THEN 0 ELSE 1 END,
    CASE WHEN n.lease IS NULL THEN 0 ELSE 1 END,
    CASE WHEN n.lease IS NULL THEN NULL ELSE now() END,
    clock_timestamp() + n.lease
FROM (
    SELECT given.*, CASE
        WHEN given.destination = @destination::text AND given.deliver_at <= now()
         AND (given.expires_at > now() OR given.expires_at = '0001-01-01 00:00:00+00') THEN given.arrival_lease
    END AS lease
    FROM (SELECT
        (SELECT arrival_lease FROM schedule WHERE running AND tick_interval = interval '0'
         AND current_setting('dispatch.arrivals', true) = 'true' AND timeline = server_timeline()) AS arrival_lease,
        unnest(@ids::uuid[]) AS id,
        unnest(@created_ats::timestamptz[]) AS created_at,
        unnest(@deliver_ats::timestamptz[]) AS deliver_at,
        unnest(@expires_ats::timestamptz[]) AS expires_at,
        unnest(@priorities::smallint[]) AS priority,
        unnest(@destinations::text[]) AS destination,
        unnest(@recipients::text[]) AS recipient,
        unnest(@contents::text[]) AS content,
        unnest(@payloads::bytea[]) AS payload,
        unnest(@types::text[]) AS type,
        unnest(@metadatas::text[]) AS metadata,
        unnest(@scopes::text[]) AS scope,
        unnest(@idempotency_keys::text[]) AS idempotency_key,
        unnest(@body_hashes::bytea[]) AS body_hash,
        unnest(@traceparents::text[]) AS traceparent,
        unnest(@tracestates::text[]) AS tracestate
    ) AS given
) AS n
ON CONFLICT DO NOTHING
RETURNING id, created_at, updated_at, deliver_at, status, queued_at;

-- name: InsertArrived :one
-- A group of new messages that are all claimed as they arrive, with what that
-- publishes, in one round trip: what InsertMessages and InsertOutbox leave when
-- every message is due. The time is the caller's, since the batch tells it, and
-- must be Postgres' within a second. Where the pace does not allow it, nothing
-- is inserted and nothing returned. Of ids that are there already, Postgres
-- makes an error: then somebody has to look.
WITH pace AS (
    SELECT arrival_lease FROM schedule
    WHERE running AND tick_interval = interval '0' AND arrival_lease IS NOT NULL
      AND current_setting('dispatch.arrivals', true) = 'true' AND timeline = server_timeline()
      AND @at::timestamptz BETWEEN now() - interval '1 second' AND now() + interval '1 second'
), arrived AS (
    INSERT INTO messages (
        id, created_at, updated_at, deliver_at, expires_at, priority, destination,
        recipient, content, payload, type, metadata, body_hash, traceparent, tracestate,
        status, version, claim, fruitless, queued_at, lease_until
    )
    SELECT
        n.id, n.created_at, @at, @at, nullif(n.expires_at, '0001-01-01 00:00:00+00'),
        n.priority, @destination::text, n.recipient,
        nullif(n.content, ''), nullif(n.payload, ''), nullif(n.type, ''), nullif(n.metadata, '')::jsonb,
        nullif(n.body_hash, ''), nullif(n.traceparent, ''), nullif(n.tracestate, ''),
        'QUEUED', 2, 1, 1, @at, clock_timestamp() + n.arrival_lease
    FROM (SELECT
        pace.arrival_lease,
        unnest(@ids::uuid[]) AS id,
        unnest(@created_ats::timestamptz[]) AS created_at,
        unnest(@expires_ats::timestamptz[]) AS expires_at,
        unnest(@priorities::smallint[]) AS priority,
        unnest(@recipients::text[]) AS recipient,
        unnest(@contents::text[]) AS content,
        unnest(@payloads::bytea[]) AS payload,
        unnest(@types::text[]) AS type,
        unnest(@metadatas::text[]) AS metadata,
        unnest(@body_hashes::bytea[]) AS body_hash,
        unnest(@traceparents::text[]) AS traceparent,
        unnest(@tracestates::text[]) AS tracestate
        FROM pace
    ) AS n
    RETURNING id
)
INSERT INTO outbox (batch, is_claim, on_arrival)
SELECT @batch::bytea, true, true WHERE EXISTS (SELECT FROM arrived)
RETURNING id;

-- name: MessagesByKey :many
-- The first messages under these idempotency keys, without what they carry:
-- that may be far more than a group brings.
SELECT m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.scope, m.idempotency_key, m.body_hash
FROM messages AS m
JOIN (
    SELECT unnest(@scopes::text[]) AS scope, unnest(@idempotency_keys::text[]) AS idempotency_key
) AS k ON m.scope = k.scope AND m.idempotency_key = k.idempotency_key;

-- name: MessagesByID :many
SELECT m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.scope, m.idempotency_key, m.body_hash
FROM messages AS m WHERE m.id = ANY(@ids::uuid[]);
