CREATE TYPE message_status AS ENUM ('PENDING', 'QUEUED', 'RETRYING', 'SENT', 'FAILED', 'CANCELLED', 'EXPIRED');

CREATE TABLE messages (
    id              uuid PRIMARY KEY, -- UUIDv7: the order of ids is the order of creation
    created_at      timestamptz NOT NULL, -- the id's time: a range of it is a range of ids
    updated_at      timestamptz NOT NULL,
    deliver_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    queued_at       timestamptz,
    sent_at         timestamptz,
    next_attempt_at timestamptz,
    lease_until     timestamptz, -- QUEUED and RETRYING alone: when an id without an outcome may be emitted anew
    version         bigint   NOT NULL DEFAULT 1, -- rises with every change
    claim           bigint   NOT NULL DEFAULT 0, -- the fencing token: rises at every emission and every parking
    attempts        integer  NOT NULL DEFAULT 0,
    budget_start    integer  NOT NULL DEFAULT 0, -- attempts when the present retry budget began
    fruitless       smallint NOT NULL DEFAULT 0, -- claims in a row that brought no outcome
    priority        smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    status          message_status NOT NULL DEFAULT 'PENDING',
    destination     text NOT NULL,
    recipient       text NOT NULL,
    content         text,
    payload         bytea, -- bytes, not jsonb: it is sent as it came
    type            text,
    metadata        jsonb,
    external_id     text,
    last_error      text,
    scope           text, -- whose idempotency key it is
    idempotency_key text,
    body_hash       bytea,
    CHECK ((content IS NULL) <> (payload IS NULL)),
    -- What Go and JSON can't tell, such as infinity, would stand in the way of
    -- every batch that holds it.
    CHECK (deliver_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'),
    CHECK (expires_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);

-- The claim: one walk for each priority, oldest first.
CREATE INDEX messages_due ON messages (destination, priority, deliver_at, id) WHERE status = 'PENDING';
CREATE INDEX messages_lease ON messages (lease_until) WHERE status IN ('QUEUED', 'RETRYING');
CREATE INDEX messages_expiry ON messages (expires_at) WHERE status = 'PENDING' AND expires_at IS NOT NULL;
-- The walk of a bulk retry. What was sent is not in it.
CREATE INDEX messages_retryable ON messages (id) WHERE status IN ('FAILED', 'CANCELLED', 'EXPIRED');
-- The lists: each filter by itself is one walk, newest first. These change with
-- every move; what does not change is in lookups.
CREATE INDEX messages_status ON messages (status, id);
CREATE INDEX messages_external ON messages (hashtext(external_id), id) WHERE external_id IS NOT NULL; -- most are UUIDs as text
CREATE UNIQUE INDEX messages_idempotency ON messages (idempotency_key, scope) WHERE idempotency_key IS NOT NULL;

-- What lists look for and what never changes, kept by the triggers below. It
-- stands beside the messages because every move of a message writes all of its
-- table's indexes anew, and that of the recipients at a random place.
CREATE TABLE lookups (
    id          uuid NOT NULL,
    destination text NOT NULL,
    recipient   text NOT NULL,
    type        text
);
CREATE INDEX lookups_recipient ON lookups (recipient, id);
CREATE INDEX lookups_type ON lookups (type, id) WHERE type IS NOT NULL;
-- An installation that has one destination pays nothing for this one.
CREATE INDEX lookups_destination ON lookups (destination, id) WHERE destination <> 'default';

CREATE TABLE attempts (
    message_id  uuid        NOT NULL,
    claim       bigint      NOT NULL,
    number      integer     NOT NULL,
    delivery    integer     NOT NULL, -- JetStream's count: tells two tries of one number apart
    started_at  timestamptz NOT NULL,
    duration_us bigint      NOT NULL,
    http_status smallint,
    outcome     text        NOT NULL,
    error       text,
    response    text,
    PRIMARY KEY (message_id, claim, number, delivery) -- in the order that leaves no gaps
);

-- What is to be published, written in the transaction that makes it true.
-- Its owner publishes it at once and deletes it; what is left behind is
-- relayed by any dispatcher.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_claim   boolean     NOT NULL DEFAULT false, -- a tick's emission: publishing it sets the next tick
    batch      bytea       NOT NULL
);
CREATE INDEX outbox_claims ON outbox (id) WHERE is_claim;
ALTER TABLE outbox ALTER COLUMN batch SET STORAGE EXTERNAL; -- it comes compressed

-- The one schedule that all dispatchers share. Postgres' clock is its clock.
CREATE TABLE schedule (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    running        boolean NOT NULL DEFAULT true,
    tick_interval  interval NOT NULL CHECK (tick_interval >= interval '0'), -- 0 is the continuous mode
    batch_size     integer CHECK (batch_size > 0),            -- NULL: by the mode
    next_tick_at   timestamptz DEFAULT clock_timestamp(),     -- NULL while a claim is not yet published
    last_tick_at   timestamptz,
    last_batch     integer NOT NULL DEFAULT 0,
    applied_interval   interval, -- what provision applied last from the environment
    applied_batch_size  integer
);

-- Counts by status, kept by the triggers below rather than counted: every
-- statement adds its differences, status sums them, the dispatcher folds them.
CREATE TABLE status_counts (
    destination text           NOT NULL,
    status      message_status NOT NULL,
    n           bigint         NOT NULL
);

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

CREATE FUNCTION look_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lookups SELECT id, destination, recipient, type FROM new_rows;
    RETURN NULL;
END $$;

CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM lookups AS l USING old_rows AS o WHERE l.recipient = o.recipient AND l.id = o.id;
    RETURN NULL;
END $$;

CREATE TRIGGER messages_look_up AFTER INSERT ON messages
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION look_up();
CREATE TRIGGER messages_forget AFTER DELETE ON messages
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION forget();
