-- name: InsertMessages :many
-- Inserts a group of new messages. Empty strings and the zero time mean NULL,
-- because an array parameter cannot contain NULL and values. A conflict on the id
-- (a redelivery from the intake stream) or on the idempotency key inserts nothing.
--
-- deliver_at is at least the time of Postgres. The clock of an ingest that is
-- ahead cannot delay messages, and no message is due before it is stored: the
-- claim skips due times that are far in the past (see Watermark).
--
-- The fast path: in the continuous mode, while no due message waits, this
-- statement also claims the new messages that are due (see tryFastPath). It leaves
-- the row as a tick would.
INSERT INTO messages (
    id, created_at, updated_at, deliver_at, expires_at, priority, destination,
    recipient, content, payload, type, metadata, idempotency_scope, idempotency_key, body_hash,
    traceparent, tracestate,
    status, version, claim_number, claims_without_outcome, queued_at, lease_until
)
SELECT
    n.id, n.created_at, now(), greatest(n.deliver_at, now()),
    nullif(n.expires_at, '0001-01-01 00:00:00+00'),
    n.priority, n.destination, n.recipient,
    nullif(n.content, ''), nullif(n.payload, ''), nullif(n.type, ''), nullif(n.metadata, '')::jsonb,
    CASE WHEN n.idempotency_key <> '' THEN n.idempotency_scope END, nullif(n.idempotency_key, ''), nullif(n.body_hash, ''),
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
         AND (given.expires_at > now() OR given.expires_at = '0001-01-01 00:00:00+00') THEN given.fast_path_lease
    END AS lease
    FROM (SELECT
        (SELECT fast_path_lease FROM schedule WHERE running AND tick_interval = interval '0'
         AND current_setting('dispatch.fast_path', true) = 'true' AND trusted_timeline = server_timeline()) AS fast_path_lease,
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
        unnest(@idempotency_scopes::text[]) AS idempotency_scope,
        unnest(@idempotency_keys::text[]) AS idempotency_key,
        unnest(@body_hashes::bytea[]) AS body_hash,
        unnest(@traceparents::text[]) AS traceparent,
        unnest(@tracestates::text[]) AS tracestate
    ) AS given
) AS n
ON CONFLICT DO NOTHING
RETURNING id, created_at, updated_at, deliver_at, status, queued_at;

-- name: InsertFastPath :one
-- Inserts a group of new messages that are all claimed by the fast path, and the
-- outbox row that publishes them, in one round trip. The result is the same as
-- that of InsertMessages and InsertOutbox when every message is due. The caller
-- passes the time, because the batch contains it; it may differ from the time of
-- Postgres by a second. If the schedule does not allow the fast path, nothing is
-- inserted and no row is returned. An id that exists is an error: then the caller
-- uses InsertMessages.
WITH pace AS (
    SELECT fast_path_lease FROM schedule
    WHERE running AND tick_interval = interval '0' AND fast_path_lease IS NOT NULL
      AND current_setting('dispatch.fast_path', true) = 'true' AND trusted_timeline = server_timeline()
      AND @at::timestamptz BETWEEN now() - interval '1 second' AND now() + interval '1 second'
), inserted AS (
    INSERT INTO messages (
        id, created_at, updated_at, deliver_at, expires_at, priority, destination,
        recipient, content, payload, type, metadata, body_hash, traceparent, tracestate,
        status, version, claim_number, claims_without_outcome, queued_at, lease_until
    )
    SELECT
        n.id, n.created_at, @at, @at, nullif(n.expires_at, '0001-01-01 00:00:00+00'),
        n.priority, @destination::text, n.recipient,
        nullif(n.content, ''), nullif(n.payload, ''), nullif(n.type, ''), nullif(n.metadata, '')::jsonb,
        nullif(n.body_hash, ''), nullif(n.traceparent, ''), nullif(n.tracestate, ''),
        'QUEUED', 2, 1, 1, @at, clock_timestamp() + n.fast_path_lease
    FROM (SELECT
        pace.fast_path_lease,
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
INSERT INTO outbox (batch, is_claim, fast_path)
SELECT @batch::bytea, true, true WHERE EXISTS (SELECT FROM inserted)
RETURNING id;

-- name: MessagesByKey :many
-- The stored messages with these idempotency keys, without content and payload:
-- those can be much larger than the group that is inserted.
SELECT m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.idempotency_scope, m.idempotency_key, m.body_hash
FROM messages AS m
JOIN (
    SELECT unnest(@idempotency_scopes::text[]) AS idempotency_scope, unnest(@idempotency_keys::text[]) AS idempotency_key
) AS k ON m.idempotency_scope = k.idempotency_scope AND m.idempotency_key = k.idempotency_key;

-- name: MessagesByID :many
SELECT m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.idempotency_scope, m.idempotency_key, m.body_hash
FROM messages AS m WHERE m.id = ANY(@ids::uuid[]);
