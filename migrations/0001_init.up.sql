CREATE TYPE message_status AS ENUM ('PENDING', 'QUEUED', 'RETRYING', 'SENT', 'FAILED', 'CANCELLED', 'EXPIRED');

CREATE TABLE messages (
    id              uuid PRIMARY KEY, -- UUIDv7: ids sort by creation time
    created_at      timestamptz NOT NULL, -- the time inside the id, so a range of times is a range of ids
    updated_at      timestamptz NOT NULL,
    deliver_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    queued_at       timestamptz,
    sent_at         timestamptz,
    next_attempt_at timestamptz,
    lease_until     timestamptz, -- QUEUED and RETRYING only: an id without an outcome may be emitted again after this
    version         bigint   NOT NULL DEFAULT 1, -- increases with every change
    claim_number    bigint   NOT NULL DEFAULT 0, -- the fencing token: increases when the id is emitted and when a retry is parked
    -- A relay gives the message a new claim number. This is the number that it
    -- replaced, until an outcome is recorded: a delivery with that number may
    -- have reached a sender, and its outcome still counts.
    replaced_claim_number bigint,
    attempts        integer  NOT NULL DEFAULT 0,
    budget_start    integer  NOT NULL DEFAULT 0, -- the value of attempts when the current retry budget began
    claims_without_outcome smallint NOT NULL DEFAULT 0, -- claims since the last recorded outcome
    priority        smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    status          message_status NOT NULL DEFAULT 'PENDING',
    destination     text NOT NULL,
    recipient       text NOT NULL,
    content         text,
    payload         bytea, -- bytes, not jsonb: the payload is sent exactly as it was received
    type            text,
    metadata        jsonb,
    external_id     text,
    last_error      text,
    idempotency_scope text, -- the API key or NATS prefix within which the idempotency key is unique
    idempotency_key text,
    body_hash       bytea,
    traceparent     text, -- the W3C trace context that was received with the message
    tracestate      text,
    CHECK ((content IS NULL) <> (payload IS NULL)),
    -- Go and JSON cannot represent values such as infinity. A row with one
    -- would block every batch that contains it.
    CHECK (deliver_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'),
    CHECK (expires_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);

-- For the claim: one index walk per priority, oldest first.
CREATE INDEX messages_due ON messages (destination, priority, deliver_at, id) WHERE status = 'PENDING';
CREATE INDEX messages_lease ON messages (lease_until) WHERE status IN ('QUEUED', 'RETRYING');
CREATE INDEX messages_expiry ON messages (expires_at) WHERE status = 'PENDING' AND expires_at IS NOT NULL;
-- For a bulk redrive. SENT messages are not in this index.
CREATE INDEX messages_redrivable ON messages (id) WHERE status IN ('FAILED', 'CANCELLED', 'EXPIRED');
-- For lists: a single filter is one index walk, newest first. These columns
-- change. Columns that never change are in message_filters.
CREATE INDEX messages_status ON messages (status, id);
CREATE INDEX messages_external_id ON messages (hashtext(external_id), id) WHERE external_id IS NOT NULL; -- hashed: most are UUIDs as text
CREATE UNIQUE INDEX messages_idempotency ON messages (idempotency_key, idempotency_scope) WHERE idempotency_key IS NOT NULL;

-- The columns that lists filter by and that never change. Triggers maintain
-- them. They are in their own table because each update of a message rewrites
-- all index entries of its table, and an entry for a recipient is at a random
-- place in its index.
CREATE TABLE message_filters (
    id          uuid NOT NULL,
    destination text NOT NULL,
    recipient   text NOT NULL,
    type        text
);
CREATE INDEX message_filters_recipient ON message_filters (recipient, id);
CREATE INDEX message_filters_type ON message_filters (type, id) WHERE type IS NOT NULL;
-- Costs nothing in an installation with only the default destination.
CREATE INDEX message_filters_destination ON message_filters (destination, id) WHERE destination <> 'default';

CREATE TABLE attempts (
    message_id     uuid        NOT NULL,
    claim_number   bigint      NOT NULL,
    number         integer     NOT NULL,
    delivery_count integer     NOT NULL, -- from JetStream: distinguishes two requests with the same attempt number
    started_at     timestamptz NOT NULL,
    duration_us    bigint      NOT NULL,
    http_status    smallint,
    outcome        text        NOT NULL,
    error          text,
    response       text,
    -- True: the request did not reach the receiver, because there was no
    -- connection or nothing was written to it. False without an HTTP status:
    -- the receiver may have the message.
    unsent         boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (message_id, claim_number, number, delivery_count) -- this column order needs no padding
);

-- What is to be published, written by the transaction that makes it true. The
-- process that wrote a row publishes it at once and deletes it. A dispatcher
-- relays the rows that remain.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_claim   boolean     NOT NULL DEFAULT false, -- contains ids to emit; the next tick waits until a tick's claim is published
    fast_path  boolean     NOT NULL DEFAULT false, -- a claim by the transaction that stored the messages; no tick waits for it
    relay_count integer    NOT NULL DEFAULT 0,     -- how often a relay took over this claim; an earlier owner can no longer finish it
    not_before timestamptz,                        -- when the row may be relayed again; NULL: when it is old enough
    batch      bytea       NOT NULL
);
CREATE INDEX outbox_claims ON outbox (id) WHERE is_claim;
ALTER TABLE outbox ALTER COLUMN batch SET STORAGE EXTERNAL; -- it is already compressed
-- The services measure the outbox, also where they do not own it, and need its
-- last id for that.
GRANT SELECT ON SEQUENCE outbox_id_seq TO PUBLIC;

-- Identifies this server and its history. A failover begins a new timeline,
-- and a server restored elsewhere has another system identifier. A managed
-- server may hide either part, which is then 'unknown'. The function runs with
-- its owner's rights, so that all roles get the same answer.
CREATE FUNCTION server_timeline() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cluster  text := 'unknown';
    timeline text := 'unknown';
BEGIN
    BEGIN
        SELECT system_identifier::text INTO cluster FROM pg_control_system();
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        timeline := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN cluster || '/' || timeline;
END $$;

-- The one schedule that all dispatchers share, by the clock of Postgres.
CREATE TABLE schedule (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    running        boolean NOT NULL DEFAULT true,
    tick_interval  interval NOT NULL CHECK (tick_interval >= interval '0'), -- 0 is the continuous mode
    batch_size     integer CHECK (batch_size > 0),            -- NULL: the default of the mode
    next_tick_at   timestamptz DEFAULT clock_timestamp(),     -- NULL while a claim is not yet published
    last_tick_at   timestamptz,
    last_batch_size integer NOT NULL DEFAULT 0,
    -- The values that provision last took from the environment.
    provisioned_interval   interval,
    provisioned_batch_size integer,
    -- The lease of a message that is emitted by the transaction that stores
    -- it. NULL: no message may be. A tick in the continuous mode that leaves
    -- nothing behind sets it.
    fast_path_lease interval,
    -- The server whose commits are known to be complete. While this is NULL or
    -- another server, commits may be lost and nothing is emitted.
    trusted_timeline text DEFAULT server_timeline(),
    commits_lost_at timestamptz, -- when the loss was noticed
    repairer       uuid,         -- the dispatcher that repairs it
    repair_lease_until timestamptz, -- until then no other dispatcher may
    -- All claim numbers from now on are at least this. Lost commits may have
    -- used any lower number.
    min_claim_number bigint NOT NULL DEFAULT 0
);

-- How far in the EVENTS stream outcomes are recorded: the last event of each
-- recorded batch, and the event up to which everything was recorded before
-- that batch. Recorders only insert, so they do not wait for each other. A
-- dispatcher folds the rows into one.
CREATE TABLE recorder_progress (
    last_sequence     bigint NOT NULL,
    complete_sequence bigint NOT NULL
);
CREATE INDEX recorder_progress_last ON recorder_progress (last_sequence);

-- Message counts by status, maintained by triggers, so that nobody has to count
-- the table. Each statement inserts its differences, the status adds them up,
-- and the dispatcher folds them.
CREATE TABLE status_counts (
    destination text           NOT NULL,
    status      message_status NOT NULL,
    difference  bigint         NOT NULL,
    -- The transaction that wrote this row. Readers start at the oldest one that
    -- can still matter and skip rows that are folded. Postgres cannot remove
    -- those rows while anything, such as a backup, holds an old snapshot.
    written_by  xid8           NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX status_counts_written_by ON status_counts (written_by);

CREATE FUNCTION count_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO status_counts
    SELECT destination, status, count(*) FROM new_rows GROUP BY 1, 2;
    RETURN NULL;
END $$;

CREATE FUNCTION count_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO status_counts
    SELECT destination, status, sum(n) FROM (
        SELECT destination, status, count(*) AS n FROM new_rows GROUP BY 1, 2
        UNION ALL
        SELECT destination, status, -count(*) FROM old_rows GROUP BY 1, 2
    ) AS differences GROUP BY 1, 2 HAVING sum(n) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO status_counts
    SELECT destination, status, -count(*) FROM old_rows GROUP BY 1, 2;
    RETURN NULL;
END $$;

CREATE TRIGGER messages_count_inserted AFTER INSERT ON messages
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_inserted();
CREATE TRIGGER messages_count_updated AFTER UPDATE ON messages
    REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_updated();
CREATE TRIGGER messages_count_deleted AFTER DELETE ON messages
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_deleted();

CREATE FUNCTION insert_filters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_filters SELECT id, destination, recipient, type FROM new_rows;
    RETURN NULL;
END $$;

CREATE FUNCTION delete_filters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM message_filters AS f USING old_rows AS o WHERE f.recipient = o.recipient AND f.id = o.id;
    RETURN NULL;
END $$;

CREATE TRIGGER messages_insert_filters AFTER INSERT ON messages
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION insert_filters();
CREATE TRIGGER messages_delete_filters AFTER DELETE ON messages
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION delete_filters();
