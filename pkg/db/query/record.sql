-- name: LoadQueued :many
-- The gate: a delivery may be sent only while its message is QUEUED or RETRYING
-- and has no newer claim number. The status is compared as text, which keeps the
-- planner on the primary key; messages_lease would match too, and contains every
-- id in flight. Once the rows before a row have bytes_limit bytes of payload, the
-- row comes without its payload, and the caller asks for it later.
WITH open AS (
    SELECT m.id, sum(coalesce(octet_length(m.payload), 0)) OVER (ORDER BY m.id) - coalesce(octet_length(m.payload), 0) >= @bytes_limit::bigint AS later
    FROM messages AS m WHERE m.id = ANY(@ids::uuid[]) AND m.status::text IN ('QUEUED', 'RETRYING')
)
SELECT m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(m.content, '')::text AS content,
    (CASE WHEN NOT open.later THEN m.payload END)::bytea AS payload,
    m.metadata::jsonb AS metadata, open.later::boolean AS later
FROM open JOIN messages AS m ON m.id = open.id;

-- name: RecordOutcomes :many
-- Records at most one outcome per message. The guard is the transition table, as
-- FROM>TO pairs. A 2xx wins over every other state. Any other outcome counts only
-- if there is no newer claim and no attempt with the same or a higher number is
-- recorded. Therefore an outcome that is delivered twice, or late, or after a
-- redrive changes nothing.
--
-- Three cases need more. The row has an older claim number if the event of a
-- parked retry was lost. If a relay replaced the claim number, outcomes of the
-- replaced one count too. A PENDING row with an older claim number lost the claim
-- of this outcome when Postgres was restored, and is treated as QUEUED.
UPDATE messages AS m SET
    status = o.status::message_status,
    version = greatest(m.version + 1, o.version),
    claim_number = greatest(m.claim_number, o.next_claim_number),
    replaced_claim_number = NULL,
    attempts = greatest(m.attempts, o.number),
    claims_without_outcome = 0,
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
        unnest(@claim_numbers::bigint[]) AS claim_number,
        unnest(@next_claim_numbers::bigint[]) AS next_claim_number,
        unnest(@numbers::integer[]) AS number,
        unnest(@tried::boolean[]) AS tried,
        unnest(@ended_ats::timestamptz[]) AS ended_at,
        unnest(@next_attempt_ats::timestamptz[]) AS next_attempt_at,
        unnest(@external_ids::text[]) AS external_id,
        unnest(@errors::text[]) AS error
) AS o
WHERE m.id = o.id
  AND CASE WHEN m.status::text = 'PENDING' AND m.claim_number < o.claim_number THEN 'QUEUED' ELSE m.status::text END || '>' || o.status = ANY(@transitions::text[])
  AND (o.status = 'SENT' OR (coalesce(m.replaced_claim_number, m.claim_number) <= o.claim_number AND m.attempts < o.number + (NOT o.tried)::integer))
RETURNING m.id;

-- name: LockMessages :many
-- Those of the messages that exist, protected from deletion until the end of the
-- transaction. An erasure and the retention lock a row before they delete it, and
-- skip a row that is locked.
SELECT m.id FROM messages AS m WHERE m.id = ANY(@ids::uuid[]) FOR KEY SHARE;

-- name: InsertAttempts :exec
-- An attempt whose event is delivered twice is stored once. The messages are
-- locked: an attempt without its message would never be deleted, because all
-- deletions start from messages.
--
-- The progress of the recorder is stored with the outcomes, unless the recorder
-- knows more than Postgres does: that would hide that commits were lost.
WITH noted AS (
    INSERT INTO recorder_progress (last_sequence, complete_sequence)
    SELECT @last_sequence::bigint, @complete_sequence::bigint WHERE @last_sequence::bigint > 0
      AND coalesce((SELECT r.last_sequence FROM recorder_progress AS r ORDER BY r.last_sequence DESC LIMIT 1), 0) >= @complete_sequence::bigint
      AND NOT EXISTS (SELECT FROM schedule WHERE trusted_timeline IS DISTINCT FROM server_timeline())
)
INSERT INTO attempts (message_id, claim_number, number, delivery_count, started_at, duration_us, http_status, outcome, error, response, unsent)
SELECT t.message_id, t.claim_number, t.number, t.delivery_count, t.started_at, t.duration_us, nullif(t.http_status, 0), t.outcome, nullif(t.error, ''), nullif(t.response, ''), t.unsent
FROM (
    SELECT
        unnest(@message_ids::uuid[]) AS message_id,
        unnest(@claim_numbers::bigint[]) AS claim_number,
        unnest(@numbers::integer[]) AS number,
        unnest(@delivery_counts::integer[]) AS delivery_count,
        unnest(@started_ats::timestamptz[]) AS started_at,
        unnest(@durations_us::bigint[]) AS duration_us,
        unnest(@http_statuses::smallint[]) AS http_status,
        unnest(@outcomes::text[]) AS outcome,
        unnest(@errors::text[]) AS error,
        unnest(@responses::text[]) AS response,
        unnest(@unsent::boolean[]) AS unsent
) AS t
ON CONFLICT DO NOTHING;

-- name: ListAttemptOutcomes :many
-- What is known of a message's attempts. Two with the same number are two
-- deliveries.
SELECT claim_number, delivery_count, http_status, outcome, unsent FROM attempts WHERE message_id = @message_id;

-- name: Clock :one
SELECT clock_timestamp()::timestamptz AS now;

-- name: UnrecordedOutcomes :one
-- How many of these outcomes RecordOutcomes would write.
SELECT count(*) FROM messages AS m
JOIN (
    SELECT
        unnest(@ids::uuid[]) AS id,
        unnest(@statuses::text[]) AS status,
        unnest(@claim_numbers::bigint[]) AS claim_number,
        unnest(@numbers::integer[]) AS number,
        unnest(@tried::boolean[]) AS tried
) AS o ON m.id = o.id
WHERE CASE WHEN m.status::text = 'PENDING' AND m.claim_number < o.claim_number THEN 'QUEUED' ELSE m.status::text END || '>' || o.status = ANY(@transitions::text[])
  AND (o.status = 'SENT' OR (coalesce(m.replaced_claim_number, m.claim_number) <= o.claim_number AND m.attempts < o.number + (NOT o.tried)::integer));
