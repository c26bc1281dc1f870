-- name: CancelMessage :one
-- A parked message is called back only while its next attempt is far enough
-- ahead that no sender is about to make it.
UPDATE messages AS m SET
    status = 'CANCELLED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = NULL
WHERE m.id = @id AND m.status::text = ANY(@before::text[])
  AND (m.status <> 'RETRYING' OR m.next_attempt_at >= clock_timestamp() + @lead::interval)
RETURNING m.*;

-- name: RetryMessage :one
-- A new budget and a new due time; attempt numbers go on where they were.
UPDATE messages AS m SET
    status = 'PENDING',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    deliver_at = clock_timestamp(),
    expires_at = sqlc.narg(expires_at),
    budget_start = m.attempts,
    fruitless = 0,
    next_attempt_at = NULL,
    lease_until = NULL
WHERE m.id = @id AND m.status::text = ANY(@before::text[])
RETURNING m.*;

-- name: CountRetryable :one
-- The list of states is what lets messages_retryable answer.
SELECT count(*) FROM messages AS m
WHERE m.status IN ('FAILED', 'CANCELLED', 'EXPIRED')
  AND m.status::text = ANY(@before::text[])
  AND (sqlc.narg(destination)::text IS NULL OR m.destination = sqlc.narg(destination))
  AND (sqlc.narg(created_after)::timestamptz IS NULL OR m.created_at >= sqlc.narg(created_after))
  AND (sqlc.narg(created_before)::timestamptz IS NULL OR m.created_at < sqlc.narg(created_before));

-- name: RetryMessages :many
-- A batch of a walk along messages_retryable: a message that fails again
-- meanwhile lies behind it. A row that is locked is having an outcome recorded
-- or is being retried by somebody else.
WITH batch AS (
    SELECT m.id FROM messages AS m
    WHERE m.id > @after
      AND m.status IN ('FAILED', 'CANCELLED', 'EXPIRED')
      AND m.status::text = ANY(@before::text[])
      AND (sqlc.narg(destination)::text IS NULL OR m.destination = sqlc.narg(destination))
      AND (sqlc.narg(created_after)::timestamptz IS NULL OR m.created_at >= sqlc.narg(created_after))
      AND (sqlc.narg(created_before)::timestamptz IS NULL OR m.created_at < sqlc.narg(created_before))
    ORDER BY m.id LIMIT @batch_limit FOR UPDATE SKIP LOCKED
)
UPDATE messages AS m SET
    status = 'PENDING',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    deliver_at = clock_timestamp(),
    expires_at = NULL,
    budget_start = m.attempts,
    fruitless = 0,
    next_attempt_at = NULL,
    lease_until = NULL
FROM batch
WHERE m.id = batch.id AND m.status::text = ANY(@before::text[])
RETURNING m.id;
