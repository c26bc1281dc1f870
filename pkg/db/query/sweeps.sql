-- name: LeasesLost :many
SELECT id, destination, claim, fruitless FROM messages
WHERE status IN ('QUEUED', 'RETRYING') AND lease_until < clock_timestamp()
ORDER BY lease_until LIMIT @batch_limit;

-- name: GiveUp :many
-- Claimed again and again, and never an outcome.
UPDATE messages AS m SET
    status = 'FAILED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = NULL,
    last_error = 'no_outcome'
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS lost
WHERE m.id = lost.id AND m.claim = lost.claim
  AND m.status::text = ANY(@before::text[]) AND m.lease_until < clock_timestamp()
RETURNING m.*;

-- name: ExpireDue :many
UPDATE messages AS m SET
    status = 'EXPIRED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    last_error = 'expired before it was sent'
FROM (
    SELECT id FROM messages
    WHERE status = 'PENDING' AND expires_at <= now()
    ORDER BY expires_at LIMIT @batch_limit FOR UPDATE SKIP LOCKED
) AS late
WHERE m.id = late.id AND m.status::text = ANY(@before::text[])
RETURNING m.*;
