-- Stores the messages $1 to $2 of $3, sent over the last 29 days, with one attempt
-- each. They have the size of the messages that are measured.
WITH numbers AS (
    SELECT n, date_trunc('milliseconds', now() - interval '29 days' * (1 - n::float8 / $3::float8)) AS at
    FROM generate_series($1::int, $2::int) AS n
), stored AS (
    INSERT INTO messages (
        id, created_at, updated_at, deliver_at, queued_at, sent_at,
        version, claim_number, attempts, status, destination, recipient, content, metadata, external_id
    )
    SELECT
        (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
            || 'a' || substr(md5(n::text), 1, 15))::uuid, -- a UUIDv7
        at, at + interval '20 milliseconds', at, at + interval '5 milliseconds', at + interval '15 milliseconds',
        3, 1, 1, 'SENT', 'default', '+90555' || lpad((hashint4(n) & 1048575)::text, 7, '0'),
        'Order ' || lpad(n::text, 8, '0') || ' is on its way: it will be with you tomorrow between nine and twelve. '
            || 'Track it at https://example.com/t/' || lpad(n::text, 8, '0'),
        jsonb_build_object('order', n::text), md5(n::text)::uuid::text
    FROM numbers
    RETURNING id, queued_at, external_id
)
INSERT INTO attempts (message_id, claim_number, number, delivery_count, started_at, duration_us, http_status, outcome, response)
SELECT id, 1, 1, 1, queued_at, 1234, 200, 'success', '{"messageId":"' || external_id || '"}'
FROM stored
