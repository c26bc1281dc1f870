DROP TABLE recorded;
ALTER TABLE schedule
    DROP COLUMN timeline,
    DROP COLUMN lost_at,
    DROP COLUMN repairer,
    DROP COLUMN repairer_until,
    DROP COLUMN claims_from;
DROP FUNCTION server_timeline();
