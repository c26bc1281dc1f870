-- Half of the rows finished over the last 29 days, half of them due since the
-- last hour. Run with the secondary indexes dropped; the number of rows is the number of rows.
INSERT INTO messages (
    id, created_at, updated_at, deliver_at, queued_at, sent_at, version, claim_number, attempts, priority,
    status, destination, recipient, content, type, external_id, last_error, idempotency_scope, idempotency_key
)
SELECT
    (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n %% 4096), 3, '0')
        || 'a' || substr(md5(n::text), 1, 15))::uuid,
    date_trunc('milliseconds', at), at + interval '1 second', at,
    CASE WHEN finished THEN at + interval '1 second' END,
    CASE WHEN status = 'SENT' THEN at + interval '1 second' END,
    CASE WHEN finished THEN 3 ELSE 1 END, finished::int, finished::int, 5,
    status::message_status,
    CASE WHEN n %% 50 = 0 THEN 'other' WHEN n %% 200001 = 0 THEN 'rare' ELSE 'default' END,
    '+90555' || lpad((hashint4(n) & 1048575)::text, 7, '0'),
    rpad('Your parcel ' || n || ' is on its way. ', 150, 'Thank you for shopping with us. '),
    CASE WHEN n %% 4 > 0 THEN (ARRAY['order.shipped', 'order.paid', 'invoice.created'])[n %% 4] END,
    CASE WHEN status = 'SENT' THEN md5(n::text)::uuid::text END,
    CASE WHEN status = 'FAILED' THEN 'webhook answered 400' END,
    CASE WHEN n %% 100 = 1 THEN 'bench' END, CASE WHEN n %% 100 = 1 THEN 'key-' || n END
FROM (
    SELECT n, n <= half AS finished,
        CASE WHEN n > half THEN 'PENDING' WHEN n %% 100 = 7 THEN 'FAILED' WHEN n %% 200 = 9 THEN 'CANCELLED'
             WHEN n %% 200 = 11 THEN 'EXPIRED' ELSE 'SENT' END AS status,
        CASE WHEN n <= half THEN now() - interval '29 days' * (1 - n::float8 / half)
             ELSE now() - interval '1 hour' * (1 - (n - half)::float8 / half) END AS at
    FROM (SELECT n, %[1]d / 2 AS half FROM generate_series(1, %[1]d) AS n) AS numbers
) AS rows;

INSERT INTO attempts (message_id, claim_number, number, delivery_count, started_at, duration_us, http_status, outcome, response)
SELECT id, 1, 1, 1, queued_at, 12345, 200, 'success', rpad('{"message":"Accepted","messageId":"' || external_id, 75, '"}')
FROM messages WHERE status = 'SENT';
