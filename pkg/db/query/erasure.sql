-- name: CountRecipient :one
SELECT
    (SELECT count(*) FROM messages AS m WHERE m.recipient = @recipient) AS messages,
    (SELECT count(*) FROM messages AS m WHERE m.recipient = @recipient AND m.status::text <> ALL(@final::text[])) AS open,
    (SELECT count(*) FROM attempts AS a JOIN messages AS m ON a.message_id = m.id WHERE m.recipient = @recipient) AS attempts;

-- name: EraseMessages :many
-- A batch of a recipient's messages, whatever their state. A row that is
-- locked comes with a later batch: to wait for it could end in a deadlock.
-- The pairs keep the planner on messages_recipient, whatever it believes about
-- how many there are (see listStatement).
DELETE FROM messages AS m USING (
    SELECT held.id FROM messages AS held
    WHERE (held.recipient, held.id) >= (@recipient, '00000000-0000-0000-0000-000000000000'::uuid)
      AND (held.recipient, held.id) <= (@recipient, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    ORDER BY held.recipient, held.id LIMIT @batch_limit FOR UPDATE SKIP LOCKED
) AS batch
WHERE m.id = batch.id
RETURNING m.*;

-- name: EraseAttempts :execrows
DELETE FROM attempts AS a WHERE a.message_id = ANY(@ids::uuid[]);

-- name: HasRecipient :one
SELECT count(*) > 0 AS has FROM (
    SELECT m.id FROM messages AS m
    WHERE (m.recipient, m.id) >= (@recipient, '00000000-0000-0000-0000-000000000000'::uuid)
      AND (m.recipient, m.id) <= (@recipient, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    ORDER BY m.recipient, m.id LIMIT 1
) AS first;

-- name: LockOutbox :many
-- A row that is locked is being published.
SELECT id, batch FROM outbox WHERE id > @after ORDER BY id LIMIT @batch_limit FOR UPDATE SKIP LOCKED;

-- name: RewriteOutbox :exec
UPDATE outbox SET batch = @batch WHERE id = @id;
