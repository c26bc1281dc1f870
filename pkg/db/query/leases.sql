-- name: ExpiredLeases :many
-- One batch of a walk along messages_lease. It returns nothing while commits may
-- be lost: the lost ones may include outcomes.
SELECT id, destination, claim_number, claims_without_outcome, lease_until::timestamptz AS lease_until, (clock_timestamp() - updated_at)::interval AS age
FROM messages
WHERE status IN ('QUEUED', 'RETRYING') AND lease_until < now() AND (lease_until, id) > (@after_lease::timestamptz, @after_id::uuid)
  AND NOT EXISTS (SELECT FROM schedule WHERE trusted_timeline IS DISTINCT FROM server_timeline())
ORDER BY lease_until, id LIMIT @batch_limit;

-- name: GiveUp :many
-- Fails messages that were claimed again and again without an outcome. A locked
-- row is having its outcome recorded.
UPDATE messages AS m SET
    status = 'FAILED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = NULL,
    last_error = 'no_outcome'
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claim_numbers::bigint[]) AS claim_number) AS given
        ON held.id = given.id AND held.claim_number = given.claim_number
    WHERE held.lease_until < clock_timestamp()
    FOR UPDATE OF held SKIP LOCKED
) AS lost
WHERE m.id = lost.id AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

-- name: ExpireDue :many
UPDATE messages AS m SET
    status = 'EXPIRED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    last_error = 'expired before it was sent'
FROM (
    SELECT id FROM messages
    WHERE status = 'PENDING' AND expires_at <= now()
      AND NOT EXISTS (SELECT FROM schedule WHERE trusted_timeline IS DISTINCT FROM server_timeline())
    ORDER BY expires_at LIMIT @batch_limit FOR UPDATE SKIP LOCKED
) AS late
WHERE m.id = late.id AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;
