ALTER TABLE outbox DROP COLUMN on_arrival;
ALTER TABLE schedule DROP COLUMN arrival_lease;
