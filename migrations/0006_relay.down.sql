ALTER TABLE outbox DROP COLUMN not_before, DROP COLUMN relays;
ALTER TABLE messages DROP COLUMN relayed_from;
