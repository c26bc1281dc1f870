-- Which server this is, and in which of its histories: a failover begins a new
-- timeline, and what is restored elsewhere has another cluster's identifier.
-- A part that a managed server hides is unknown, for every role alike: hence
-- the owner's rights.
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

ALTER TABLE schedule
    -- The server whose commits are known to be complete. While it is another
    -- one, or NULL, commits may be lost, and nothing is emitted.
    ADD COLUMN timeline text DEFAULT server_timeline(),
    ADD COLUMN lost_at timestamptz,       -- when a loss was noticed
    ADD COLUMN repairer uuid,             -- the dispatcher that repairs it,
    ADD COLUMN repairer_until timestamptz, -- and until when it alone does
    -- No claim number that is given out is lower. What was lost may have had any
    -- number below.
    ADD COLUMN claims_from bigint NOT NULL DEFAULT 0;

-- How far in EVENTS outcomes are recorded: with each batch of them, its last
-- event, and up to which event all were recorded before. Insert-only, so that
-- recorders don't wait for each other; a dispatcher folds them.
CREATE TABLE recorded (
    event    bigint NOT NULL,
    complete bigint NOT NULL
);
CREATE INDEX recorded_event ON recorded (event);

-- Who may use the outbox may use this.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
        FROM pg_class AS c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'outbox'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE ON recorded TO ' || role;
    END LOOP;
END $$;
