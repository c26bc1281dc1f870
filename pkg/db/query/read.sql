-- name: GetMessage :one
SELECT m.* FROM messages AS m WHERE id = @id;

-- name: ListAttempts :many
SELECT a.* FROM attempts AS a WHERE message_id = @message_id ORDER BY number, started_at;

-- name: ListStates :many
-- What Redis stores.
SELECT id, status, external_id, sent_at, updated_at, version FROM messages WHERE id = ANY(@ids::uuid[]);
