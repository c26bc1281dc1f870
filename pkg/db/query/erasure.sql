-- name: CountRecipient :one
SELECT
    (SELECT count(*) FROM lookups AS l WHERE l.recipient = @recipient) AS messages,
    (SELECT count(*) FROM lookups AS l JOIN messages AS m ON m.id = l.id
     WHERE l.recipient = @recipient AND m.status::text <> ALL(@final::text[])) AS open,
    (SELECT count(*) FROM lookups AS l JOIN attempts AS a ON a.message_id = l.id WHERE l.recipient = @recipient) AS attempts;

-- name: EraseMessages :many
-- A batch of a recipient's messages, whatever their state. A row that is
-- locked comes with a later batch: to wait for it could end in a deadlock.
-- The pairs keep the planner on lookups_recipient, whatever it believes about
-- how many there are (see listStatement).
DELETE FROM messages AS m USING (
    SELECT held.id FROM lookups AS l JOIN messages AS held ON held.id = l.id
    WHERE (l.recipient, l.id) >= (@recipient, '00000000-0000-0000-0000-000000000000'::uuid)
      AND (l.recipient, l.id) <= (@recipient, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    ORDER BY l.recipient, l.id LIMIT @batch_limit FOR UPDATE OF held SKIP LOCKED
) AS batch
WHERE m.id = batch.id
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    ''::text AS content, NULL::bytea AS payload, NULL::jsonb AS metadata;

-- name: EraseAttempts :execrows
DELETE FROM attempts AS a WHERE a.message_id = ANY(@ids::uuid[]);

-- name: HasRecipient :one
SELECT count(*) > 0 AS has FROM (
    SELECT l.id FROM lookups AS l
    WHERE (l.recipient, l.id) >= (@recipient, '00000000-0000-0000-0000-000000000000'::uuid)
      AND (l.recipient, l.id) <= (@recipient, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    ORDER BY l.recipient, l.id LIMIT 1
) AS first;

-- name: LastOutbox :one
SELECT coalesce(max(id), 0)::bigint AS id FROM outbox;

-- name: LockOutbox :many
-- A page of the outbox, of so many bytes besides its first row. A row that is
-- locked is being published.
WITH locked AS (
    SELECT id, batch FROM outbox WHERE id > @after AND id <= @last ORDER BY id LIMIT @batch_limit FOR UPDATE SKIP LOCKED
), weighed AS (
    SELECT locked.id, sum(octet_length(locked.batch)) OVER (ORDER BY locked.id) - octet_length(locked.batch) AS bytes_before FROM locked
)
SELECT locked.id, locked.batch, (SELECT count(*) FROM locked) AS found
FROM locked JOIN weighed ON weighed.id = locked.id
WHERE weighed.bytes_before < @bytes_limit::bigint ORDER BY locked.id;

-- name: OutboxBetween :many
SELECT id FROM outbox WHERE id > @after AND id <= @last ORDER BY id;

-- name: LockOutboxRow :many
-- It waits for whoever publishes the row; then it is gone, or there to be
-- rewritten.
SELECT batch FROM outbox WHERE id = @id FOR UPDATE;

-- name: RewriteOutbox :exec
UPDATE outbox SET batch = @batch WHERE id = @id;
