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
-- A copy of an id is the proof that its claim was made. Rows with an older claim
-- have lost it. Those that are PENDING are emitted, as the claim left them.
UPDATE messages AS m SET
    status = CASE WHEN m.status::text = 'PENDING' THEN 'QUEUED' ELSE m.status END,
    version = m.version + held.was_pending::integer,
    fruitless = m.fruitless + held.was_pending::integer,
    queued_at = CASE WHEN held.was_pending THEN clock_timestamp() ELSE m.queued_at END,
    updated_at = CASE WHEN held.was_pending THEN clock_timestamp() ELSE m.updated_at END,
    claim = held.claim,
    relayed_from = CASE WHEN held.was_pending THEN NULL ELSE coalesce(m.relayed_from, m.claim) END,
    lease_until = clock_timestamp() + @lease::interval
FROM (
    SELECT behind.id, given.claim, (behind.status::text = 'PENDING')::boolean AS was_pending FROM messages AS behind
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@claims::bigint[]) AS claim) AS given
        ON behind.id = given.id AND behind.claim < given.claim
    WHERE behind.status::text IN ('PENDING', 'QUEUED', 'RETRYING')
    FOR UPDATE OF behind
) AS held
WHERE m.id = held.id
RETURNING sqlc.embed(m), held.was_pending;

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
