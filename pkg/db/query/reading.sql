-- name: GetMessage :one
SELECT m.* FROM messages AS m WHERE id = @id;

-- name: ListMessages :many
-- Newest first, by keyset: ids are in the order of creation.
SELECT m.* FROM messages AS m
WHERE (sqlc.narg(before_id)::uuid IS NULL OR m.id < sqlc.narg(before_id)::uuid)
  AND (cardinality(@statuses::text[]) = 0 OR m.status::text = ANY(@statuses::text[]))
  AND (sqlc.narg(destination)::text IS NULL OR m.destination = sqlc.narg(destination))
  AND (sqlc.narg(recipient)::text IS NULL OR m.recipient = sqlc.narg(recipient))
  AND (sqlc.narg(type)::text IS NULL OR m.type = sqlc.narg(type))
  AND (sqlc.narg(external_id)::text IS NULL OR m.external_id = sqlc.narg(external_id))
  AND (sqlc.narg(idempotency_key)::text IS NULL OR m.idempotency_key = sqlc.narg(idempotency_key))
  AND (sqlc.narg(created_after)::timestamptz IS NULL OR m.created_at >= sqlc.narg(created_after))
  AND (sqlc.narg(created_before)::timestamptz IS NULL OR m.created_at < sqlc.narg(created_before))
ORDER BY m.id DESC LIMIT @page_limit;

-- name: ListAttempts :many
SELECT a.* FROM attempts AS a WHERE message_id = @message_id ORDER BY number, started_at;

-- name: CopyStates :many
-- What Redis is told.
SELECT id, status, external_id, sent_at, updated_at, version FROM messages WHERE id = ANY(@ids::uuid[]);
