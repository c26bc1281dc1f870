-- name: LeasesLost :many
-- A batch of a walk along messages_lease. None while commits may be lost: what
-- brought an outcome may be among it.
SELECT id, destination, claim, fruitless, lease_until::timestamptz AS lease_until, (clock_timestamp() - updated_at)::interval AS age
FROM messages
WHERE status IN ('QUEUED', 'RETRYING') AND lease_until < now() AND (lease_until, id) > (@after_lease::timestamptz, @after_id::uuid)
  AND NOT EXISTS (SELECT FROM schedule WHERE timeline IS DISTINCT FROM server_timeline())
ORDER BY lease_until, id LIMIT @batch_limit;

-- name: GiveUp :many
-- Claimed again and again, and never an outcome. A row that is locked is
-- having one recorded.
UPDATE messages AS m SET
    status = 'FAILED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = NULL,
    last_error = 'no_outcome'
FROM (
    SELECT held.id FROM messages AS held
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON held.id = given.id AND held.claim = given.claim
    WHERE held.lease_until < clock_timestamp()
    FOR UPDATE OF held SKIP LOCKED
) AS lost
WHERE m.id = lost.id AND m.status::text = ANY(@before::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
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
      AND NOT EXISTS (SELECT FROM schedule WHERE timeline IS DISTINCT FROM server_timeline())
    ORDER BY expires_at LIMIT @batch_limit FOR UPDATE SKIP LOCKED
) AS late
WHERE m.id = late.id AND m.status::text = ANY(@before::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;
