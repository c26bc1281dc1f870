-- name: CountRecipient :one
SELECT
    (SELECT count(*) FROM message_filters AS f WHERE f.recipient = @recipient) AS messages,
    (SELECT count(*) FROM message_filters AS f JOIN messages AS m ON m.id = f.id
     WHERE f.recipient = @recipient AND m.status::text <> ALL(@final::text[])) AS open,
    (SELECT count(*) FROM message_filters AS f JOIN attempts AS a ON a.message_id = f.id WHERE f.recipient = @recipient) AS attempts;

-- name: EraseMessages :many
-- Deletes a batch of a recipient's messages in any state. It skips locked rows,
-- and a later batch takes them: waiting for them could deadlock. The row
-- comparisons keep the planner on message_filters_recipient, whatever it
-- estimates about the number of rows (see listStatement).
DELETE FROM messages AS m USING (
    SELECT held.id FROM message_filters AS f JOIN messages AS held ON held.id = f.id
    WHERE (f.recipient, f.id) >= (@recipient, '00000000-0000-0000-0000-000000000000'::uuid)
      AND (f.recipient, f.id) <= (@recipient, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    ORDER BY f.recipient, f.id LIMIT @batch_limit FOR UPDATE OF held SKIP LOCKED
) AS batch
WHERE m.id = batch.id
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    ''::text AS content, NULL::bytea AS payload, NULL::jsonb AS metadata;

-- name: EraseAttempts :execrows
DELETE FROM attempts AS a WHERE a.message_id = ANY(@ids::uuid[]);

-- name: HasRecipient :one
SELECT count(*) > 0 AS has FROM (
    SELECT f.id FROM message_filters AS f
    WHERE (f.recipient, f.id) >= (@recipient, '00000000-0000-0000-0000-000000000000'::uuid)
      AND (f.recipient, f.id) <= (@recipient, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    ORDER BY f.recipient, f.id LIMIT 1
) AS first;

-- name: LastOutboxID :one
SELECT coalesce(max(id), 0)::bigint AS id FROM outbox;

-- name: LockOutbox :many
-- One page of the outbox: its first row, and further rows while the rows before
-- them have fewer than bytes_limit bytes. A locked row is being published.
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
-- Waits until the row is no longer being published. Then it is gone, or it has to
-- be rewritten.
SELECT batch FROM outbox WHERE id = @id FOR UPDATE;

-- name: RewriteOutbox :exec
UPDATE outbox SET batch = @batch WHERE id = @id;
