-- name: LoadQueued :many
-- The gate: a copy is worth sending only while its row is QUEUED or RETRYING
-- and carries no newer claim. The status is compared as text so that the
-- planner keeps to the primary key: messages_lease would fit too, and holds
-- every id that is on its way. A row that has so many bytes of payload before it
-- comes without its own, to be asked for later.
WITH open AS (
    SELECT m.id, sum(coalesce(octet_length(m.payload), 0)) OVER (ORDER BY m.id) - coalesce(octet_length(m.payload), 0) >= @bytes_limit::bigint AS later
    FROM messages AS m WHERE m.id = ANY(@ids::uuid[]) AND m.status::text IN ('QUEUED', 'RETRYING')
)
SELECT m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(m.content, '')::text AS content,
    (CASE WHEN NOT open.later THEN m.payload END)::bytea AS payload,
    m.metadata::jsonb AS metadata, open.later::boolean AS later
FROM open JOIN messages AS m ON m.id = open.id;

-- name: RecordOutcomes :many
-- One outcome a message and statement. The guard is the table of moves,
-- given as FROM>TO pairs. A 2xx wins over every other state. Any other
-- outcome counts only while no newer claim is made, and only before an
-- attempt of the same number or a later one is recorded: so one that is
-- delivered twice, or late, or after a user's retry, changes nothing. (The
-- row's claim is the older one when the event of a parking was lost. A claim
-- that a relay has put in another's place lets the other's outcomes count too. A
-- PENDING row with an older claim has lost the one that the outcome is of:
-- Postgres was put back to before it.)
UPDATE messages AS m SET
    status = o.status::message_status,
    version = greatest(m.version + 1, o.version),
    claim = greatest(m.claim, o.next_claim),
    relayed_from = NULL,
    attempts = greatest(m.attempts, o.number),
    fruitless = 0,
    updated_at = clock_timestamp(),
    sent_at = CASE WHEN o.status = 'SENT' THEN o.ended_at ELSE m.sent_at END,
    next_attempt_at = CASE WHEN o.status = 'RETRYING' THEN o.next_attempt_at END,
    lease_until = CASE WHEN o.status = 'RETRYING'
        THEN o.next_attempt_at + @lease::interval END,
    external_id = coalesce(nullif(o.external_id, ''), m.external_id),
    last_error = coalesce(nullif(o.error, ''), m.last_error)
FROM (
    SELECT
        unnest(@ids::uuid[]) AS id,
        unnest(@statuses::text[]) AS status,
        unnest(@versions::bigint[]) AS version,
        unnest(@claims::bigint[]) AS claim,
        unnest(@next_claims::bigint[]) AS next_claim,
        unnest(@numbers::integer[]) AS number,
        unnest(@tried::boolean[]) AS tried,
        unnest(@ended_ats::timestamptz[]) AS ended_at,
        unnest(@next_attempt_ats::timestamptz[]) AS next_attempt_at,
        unnest(@external_ids::text[]) AS external_id,
        unnest(@errors::text[]) AS error
) AS o
WHERE m.id = o.id
  AND CASE WHEN m.status::text = 'PENDING' AND m.claim < o.claim THEN 'QUEUED' ELSE m.status::text END || '>' || o.status = ANY(@moves::text[])
  AND (o.status = 'SENT' OR (coalesce(m.relayed_from, m.claim) <= o.claim AND m.attempts < o.number + (NOT o.tried)::integer))
RETURNING m.id;

-- name: KeepMessages :many
-- Those of the messages that exist, kept from being deleted until the end of
-- the transaction. An erasure and the retention lock a row before they delete
-- it, and pass over one that is locked.
SELECT m.id FROM messages AS m WHERE m.id = ANY(@ids::uuid[]) FOR KEY SHARE;

-- name: InsertAttempts :exec
-- An attempt whose event is delivered twice is one attempt. The messages are
-- locked by now: an attempt without its message would stay for ever, since
-- everything that deletes attempts goes by messages.
-- With the outcomes it is noted how far they are recorded; not by a recorder
-- that knows of more than Postgres does: that would hide that commits were lost.
WITH noted AS (
    INSERT INTO recorded (event, complete)
    SELECT @event::bigint, @complete::bigint WHERE @event::bigint > 0
      AND coalesce((SELECT r.event FROM recorded AS r ORDER BY r.event DESC LIMIT 1), 0) >= @complete::bigint
      AND NOT EXISTS (SELECT FROM schedule WHERE timeline IS DISTINCT FROM server_timeline())
)
INSERT INTO attempts (message_id, claim, number, delivery, started_at, duration_us, http_status, outcome, error, response, unsent)
SELECT t.message_id, t.claim, t.number, t.delivery, t.started_at, t.duration_us, nullif(t.http_status, 0), t.outcome, nullif(t.error, ''), nullif(t.response, ''), t.unsent
FROM (
    SELECT
        unnest(@message_ids::uuid[]) AS message_id,
        unnest(@claims::bigint[]) AS claim,
        unnest(@numbers::integer[]) AS number,
        unnest(@deliveries::integer[]) AS delivery,
        unnest(@started_ats::timestamptz[]) AS started_at,
        unnest(@durations_us::bigint[]) AS duration_us,
        unnest(@http_statuses::smallint[]) AS http_status,
        unnest(@outcomes::text[]) AS outcome,
        unnest(@errors::text[]) AS error,
        unnest(@responses::text[]) AS response,
        unnest(@unsent::boolean[]) AS unsent
) AS t
ON CONFLICT DO NOTHING;

-- name: AttemptsOutcomes :many
-- What is known of a message's attempts. Two of one number are two deliveries.
SELECT claim, delivery, http_status, outcome, unsent FROM attempts WHERE message_id = @message_id;

-- name: Clock :one
SELECT clock_timestamp()::timestamptz AS now;

-- name: UnrecordedOutcomes :one
-- How many of these outcomes RecordOutcomes would write.
SELECT count(*) FROM messages AS m
JOIN (
    SELECT
        unnest(@ids::uuid[]) AS id,
        unnest(@statuses::text[]) AS status,
        unnest(@claims::bigint[]) AS claim,
        unnest(@numbers::integer[]) AS number,
        unnest(@tried::boolean[]) AS tried
) AS o ON m.id = o.id
WHERE CASE WHEN m.status::text = 'PENDING' AND m.claim < o.claim THEN 'QUEUED' ELSE m.status::text END || '>' || o.status = ANY(@moves::text[])
  AND (o.status = 'SENT' OR (coalesce(m.relayed_from, m.claim) <= o.claim AND m.attempts < o.number + (NOT o.tried)::integer));
