-- name: Timeline :one
-- What a dispatcher compares with what it knows from elsewhere.
SELECT
    coalesce(s.timeline = server_timeline(), false)::boolean AS trusted,
    server_timeline()::text AS server,
    s.claims_from
FROM schedule AS s;

-- name: LogPosition :one
-- How many bytes of log are safe on the disk of this server.
SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS position;

-- name: Trusted :one
SELECT coalesce(timeline = server_timeline(), false)::boolean AS trusted FROM schedule;

-- name: NoticeLoss :execrows
-- Nothing is emitted from now on, until FinishRepair. Who is certain knows
-- of a loss from elsewhere; else the timeline of another server tells.
UPDATE schedule SET
    timeline = NULL,
    lost_at = clock_timestamp(),
    repairer = NULL,
    repairer_until = NULL,
    arrival_lease = NULL
WHERE timeline IS NOT NULL AND (timeline <> server_timeline() OR @certain::boolean);

-- name: TakeRepair :one
-- No row while another dispatcher repairs. A time from the future is there
-- when the clock of Postgres was set back.
UPDATE schedule SET repairer = @repairer::uuid, repairer_until = clock_timestamp() + @term::interval
WHERE timeline IS NULL AND (
    repairer_until IS NULL OR repairer = @repairer::uuid
    OR repairer_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + @term::interval)
RETURNING
    coalesce(lost_at, '-infinity')::timestamptz AS lost_at,
    coalesce(clock_timestamp() - lost_at, interval '0')::interval AS age,
    server_timeline()::text AS server;

-- name: FinishRepair :execrows
-- Nothing is changed if commits were lost once more since the repair began. The
-- interval begins with the last emission that was made. An open claim stays
-- open: its relay begins the interval.
UPDATE schedule SET
    timeline = server_timeline(),
    lost_at = NULL,
    repairer = NULL,
    repairer_until = NULL,
    claims_from = greatest(claims_from, @claims_from::bigint),
    last_tick_at = greatest(last_tick_at, clock_timestamp() - @emitted_ago::interval),
    next_tick_at = CASE WHEN next_tick_at IS NULL THEN NULL
        ELSE greatest(next_tick_at, clock_timestamp() + tick_interval - @emitted_ago::interval) END
WHERE timeline IS NULL AND repairer = @repairer::uuid AND lost_at = @noticed::timestamptz AND server_timeline() = @server::text;

-- name: RecordedUpTo :one
SELECT event, complete FROM recorded ORDER BY event DESC LIMIT 1;

-- name: FoldRecorded :exec
WITH folded AS (
    DELETE FROM recorded RETURNING event, complete
)
INSERT INTO recorded SELECT max(event), max(complete) FROM folded HAVING count(*) > 0;

-- name: ForgetRecorded :exec
DELETE FROM recorded;

-- name: NoteRecorded :exec
INSERT INTO recorded (event, complete) VALUES (@event, @complete);

-- name: RestoreClaims :many
-- A copy of an id is the proof that its claim was made. A PENDING row with an
-- older claim has lost it, and is emitted as the claim left it.
UPDATE messages AS m SET
    status = 'QUEUED',
    claim = held.claim,
    relayed_from = NULL,
    version = m.version + 1,
    fruitless = m.fruitless + 1,
    queued_at = clock_timestamp(),
    updated_at = clock_timestamp(),
    next_attempt_at = NULL,
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT behind.id, given.claim FROM messages AS behind
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON behind.id = given.id AND behind.claim < given.claim
    FOR UPDATE OF behind
) AS held
WHERE m.id = held.id AND m.status::text = ANY(@before::text[])
RETURNING m.id, m.created_at, m.updated_at, m.deliver_at, m.expires_at, m.queued_at, m.sent_at, m.next_attempt_at,
    m.version, m.claim, m.attempts, m.budget_start, m.priority, m.status, m.destination, m.recipient, m.type,
    m.external_id, m.last_error, m.traceparent, m.tracestate,
    coalesce(CASE WHEN @with_content::boolean THEN m.content END, '')::text AS content,
    (CASE WHEN @with_content THEN m.payload END)::bytea AS payload,
    (CASE WHEN @with_content THEN m.metadata END)::jsonb AS metadata;

-- name: RaiseToCopies :exec
-- The same for rows that are on their way under an older claim.
UPDATE messages AS m SET
    claim = held.claim,
    relayed_from = coalesce(m.relayed_from, m.claim),
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT behind.id, given.claim FROM messages AS behind
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON behind.id = given.id AND behind.claim < given.claim
    WHERE behind.status::text IN ('QUEUED', 'RETRYING')
    FOR UPDATE OF behind
) AS held
WHERE m.id = held.id;

-- name: RestoreCancels :many
-- An event that tells of a cancel is the proof that it was made.
UPDATE messages AS m SET
    status = 'CANCELLED',
    version = told.version,
    updated_at = told.at,
    next_attempt_at = NULL,
    lease_until = NULL
FROM (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@versions::bigint[]) AS version, unnest(@ats::timestamptz[]) AS at
) AS told
WHERE m.id = told.id AND m.version < told.version AND m.status::text = ANY(@before::text[])
RETURNING m.id;
