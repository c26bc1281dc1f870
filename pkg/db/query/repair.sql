-- name: Timeline :one
-- What a dispatcher compares with what it knows from elsewhere.
SELECT
    coalesce(s.trusted_timeline = server_timeline(), false)::boolean AS trusted,
    server_timeline()::text AS server,
    s.min_claim_number
FROM schedule AS s;

-- name: LogPosition :one
-- How many bytes of the write-ahead log are safe on this server's disk.
SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS position;

-- name: IsTrusted :one
SELECT coalesce(trusted_timeline = server_timeline(), false)::boolean AS trusted FROM schedule;

-- name: ReportCommitsLost :execrows
-- Stops every emission until FinishRepair. A caller that is not certain has the
-- timelines compared.
UPDATE schedule SET
    trusted_timeline = NULL,
    commits_lost_at = clock_timestamp(),
    repairer = NULL,
    repair_lease_until = NULL,
    fast_path_lease = NULL
WHERE trusted_timeline IS NOT NULL AND (trusted_timeline <> server_timeline() OR @certain::boolean);

-- name: TakeRepair :one
-- Returns no row while another dispatcher repairs. A time in the future means that
-- the clock of Postgres was set back.
UPDATE schedule SET repairer = @repairer::uuid, repair_lease_until = clock_timestamp() + @term::interval
WHERE trusted_timeline IS NULL AND (
    repair_lease_until IS NULL OR repairer = @repairer::uuid
    OR repair_lease_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + @term::interval)
RETURNING
    coalesce(commits_lost_at, '-infinity')::timestamptz AS commits_lost_at,
    coalesce(clock_timestamp() - commits_lost_at, interval '0')::interval AS age,
    server_timeline()::text AS server;

-- name: FinishRepair :execrows
-- Changes nothing if commits were lost again since the repair began. The interval
-- starts at the last emission. An open claim stays open, and its relay starts the
-- interval.
UPDATE schedule SET
    trusted_timeline = server_timeline(),
    commits_lost_at = NULL,
    repairer = NULL,
    repair_lease_until = NULL,
    min_claim_number = greatest(min_claim_number, @min_claim_number::bigint),
    last_tick_at = greatest(last_tick_at, clock_timestamp() - @emitted_ago::interval),
    next_tick_at = CASE WHEN next_tick_at IS NULL THEN NULL
        ELSE greatest(next_tick_at, clock_timestamp() + tick_interval - @emitted_ago::interval) END
WHERE trusted_timeline IS NULL AND repairer = @repairer::uuid AND commits_lost_at = @noticed::timestamptz AND server_timeline() = @server::text;

-- name: GetRecorderProgress :one
SELECT last_sequence, complete_sequence FROM recorder_progress ORDER BY last_sequence DESC LIMIT 1;

-- name: FoldRecorderProgress :exec
WITH folded AS (
    DELETE FROM recorder_progress RETURNING last_sequence, complete_sequence
)
INSERT INTO recorder_progress SELECT max(last_sequence), max(complete_sequence) FROM folded HAVING count(*) > 0;

-- name: DeleteRecorderProgress :exec
DELETE FROM recorder_progress;

-- name: InsertRecorderProgress :exec
INSERT INTO recorder_progress (last_sequence, complete_sequence) VALUES (@last_sequence, @complete_sequence);

-- name: RestoreClaims :many
-- A delivery proves that its claim was made. A PENDING row with an older claim
-- number lost that claim, and becomes what the claim made of it.
UPDATE messages AS m SET
    status = 'QUEUED',
    claim_number = held.claim_number,
    replaced_claim_number = NULL,
    version = m.version + 1,
    claims_without_outcome = m.claims_without_outcome + 1,
    queued_at = clock_timestamp(),
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT behind.id, given.claim_number FROM messages AS behind
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claim_numbers::bigint[]) AS claim_number) AS given
        ON behind.id = given.id AND behind.claim_number < given.claim_number
    FOR UPDATE OF behind
) AS held
WHERE m.id = held.id AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim_number, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

-- name: RaiseToDeliveries :exec
-- The same for rows that are in flight with an older claim number.
UPDATE messages AS m SET
    claim_number = held.claim_number,
    replaced_claim_number = coalesce(m.replaced_claim_number, m.claim_number),
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT behind.id, given.claim_number FROM messages AS behind
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claim_numbers::bigint[]) AS claim_number) AS given
        ON behind.id = given.id AND behind.claim_number < given.claim_number
    WHERE behind.status::text IN ('QUEUED', 'RETRYING')
    FOR UPDATE OF behind
) AS held
WHERE m.id = held.id;

-- name: RestoreCancels :many
-- An event of a cancel proves that it was made.
UPDATE messages AS m SET
    status = 'CANCELLED',
    version = cancelled.version,
    updated_at = cancelled.at,
    next_attempt_at = NULL,
    lease_until = NULL
FROM (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@versions::bigint[]) AS version, unnest(@ats::timestamptz[]) AS at
) AS cancelled
WHERE m.id = cancelled.id AND m.version < cancelled.version AND m.status::text = ANY(@from_statuses::text[])
RETURNING m.id;
