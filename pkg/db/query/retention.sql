-- name: LockRetention :one
-- Lets one dispatcher at a time delete, until the end of the transaction.
SELECT pg_try_advisory_xact_lock(hashtext('dispatch.retention')) AS locked;

-- name: DeletePastRetention :one
-- One step of a walk along the primary key, short enough to take milliseconds. It
-- deletes the rows that are past their retention and locks no others. A locked row
-- is being redriven or recorded. A separate statement deletes the attempts, so
-- that it sees those that were recorded until these rows were locked.
WITH step AS (
    SELECT m.id FROM messages AS m WHERE m.id > @after AND m.id < @before ORDER BY m.id LIMIT @step_limit
), past AS (
    SELECT m.id FROM messages AS m JOIN step ON m.id = step.id
    WHERE m.status::text = ANY(@final::text[]) AND m.updated_at < clock_timestamp() - @retention::interval
    FOR UPDATE OF m SKIP LOCKED
), gone AS (
    DELETE FROM messages AS m USING past WHERE m.id = past.id RETURNING m.id
)
SELECT
    (SELECT count(*) FROM step) AS seen,
    coalesce((SELECT step.id FROM step ORDER BY step.id DESC LIMIT 1), @after)::uuid AS last,
    coalesce((SELECT array_agg(gone.id) FROM gone), '{}')::uuid[] AS messages;

-- name: DeleteOrphanedAttempts :one
-- One step of a walk along the attempts: deletes those without a message. A
-- message is stored before its attempts, so a missing one will not appear.
WITH step AS (
    SELECT DISTINCT a.message_id FROM attempts AS a WHERE a.message_id > @after ORDER BY a.message_id LIMIT @step_limit
), gone AS (
    DELETE FROM attempts AS a USING step
    WHERE a.message_id = step.message_id AND NOT EXISTS (SELECT FROM messages AS m WHERE m.id = step.message_id)
    RETURNING a.message_id
)
SELECT
    (SELECT count(*) FROM step) AS seen,
    coalesce((SELECT step.message_id FROM step ORDER BY step.message_id DESC LIMIT 1), @after)::uuid AS last,
    (SELECT count(*) FROM gone) AS attempts;
