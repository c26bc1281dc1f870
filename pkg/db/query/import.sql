-- name: ImportMessages :many
-- Messages from another system's table, with the states and times from there.
-- Empty strings and the zero time mean NULL. A message whose id or key was
-- imported before is skipped. A due time in the future is a clock error of that
-- system, so a waiting message is due now.
INSERT INTO messages (
    id, created_at, updated_at, deliver_at, sent_at, attempts, budget_start, priority, status,
    destination, recipient, content, metadata, external_id, last_error, idempotency_scope, idempotency_key, body_hash
)
SELECT
    n.id, n.created_at, n.updated_at, least(n.created_at, now()),
    nullif(n.sent_at, '0001-01-01 00:00:00+00'), n.attempts, n.attempts, n.priority, n.status::message_status,
    n.destination, n.recipient, n.content, n.metadata::jsonb, nullif(n.external_id, ''), nullif(n.last_error, ''),
    n.idempotency_scope, n.idempotency_key, n.body_hash
FROM (
    SELECT
        unnest(@ids::uuid[]) AS id,
        unnest(@created_ats::timestamptz[]) AS created_at,
        unnest(@updated_ats::timestamptz[]) AS updated_at,
        unnest(@sent_ats::timestamptz[]) AS sent_at,
        unnest(@attempts::integer[]) AS attempts,
        unnest(@priorities::smallint[]) AS priority,
        unnest(@statuses::text[]) AS status,
        unnest(@destinations::text[]) AS destination,
        unnest(@recipients::text[]) AS recipient,
        unnest(@contents::text[]) AS content,
        unnest(@metadatas::text[]) AS metadata,
        unnest(@external_ids::text[]) AS external_id,
        unnest(@last_errors::text[]) AS last_error,
        unnest(@idempotency_scopes::text[]) AS idempotency_scope,
        unnest(@idempotency_keys::text[]) AS idempotency_key,
        unnest(@body_hashes::bytea[]) AS body_hash
) AS n
ON CONFLICT DO NOTHING
RETURNING id;
