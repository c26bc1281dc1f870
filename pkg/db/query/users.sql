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
