-- name: CancelMessage :one
-- A parked message can be cancelled only while its next attempt is far enough
-- ahead that no sender is about to make it.
UPDATE messages AS m SET
    status = 'CANCELLED',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = NULL
WHERE m.id = @id AND m.status::text = ANY(@from_statuses::text[])
  AND (m.status <> 'RETRYING' OR m.next_attempt_at >= clock_timestamp() + @lead::interval)
RETURNING m.*;

-- name: RedriveMessage :one
-- A new retry budget and a new due time. Attempt numbers continue.
UPDATE messages AS m SET
    status = 'PENDING',
    version = m.version + 1,
    updated_at = clock_timestamp(),
    deliver_at = clock_timestamp(),
    expires_at = sqlc.narg(expires_at),
    budget_start = m.attempts,
    claims_without_outcome = 0,
    next_attempt_at = NULL,
    lease_until = NULL
WHERE m.id = @id AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.*;

-- name: CountRedrivable :one
-- The list of states lets the planner use messages_redrivable.
SELECT count(*) FROM messages AS m
WHERE m.status IN ('FAILED', 'CANCELLED', 'EXPIRED')
  AND m.status::text = ANY(@from_statuses::text[])
  AND (sqlc.narg(destination)::text IS NULL OR m.destination = sqlc.narg(destination))
  AND (sqlc.narg(created_after)::timestamptz IS NULL OR m.created_at >= sqlc.narg(created_after))
  AND (sqlc.narg(created_before)::timestamptz IS NULL OR m.created_at < sqlc.narg(created_before));

-- name: RedriveMessages :many
-- One batch of a walk along messages_redrivable. A message that fails again in the
-- meantime is behind the walk. A locked row is having an outcome recorded, or
-- somebody else redrives it.
WITH batch AS (
    SELECT m.id FROM messages AS m
    WHERE m.id > @after
      AND m.status IN ('FAILED', 'CANCELLED', 'EXPIRED')
      AND m.status::text = ANY(@from_statuses::text[])
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
    claims_without_outcome = 0,
    next_attempt_at = NULL,
    lease_until = NULL
FROM batch
WHERE m.id = batch.id AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.id;
