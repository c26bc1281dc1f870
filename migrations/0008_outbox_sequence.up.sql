-- A service that is not the owner measures the outbox too, and reads how far its
-- ids go.
GRANT SELECT ON SEQUENCE outbox_id_seq TO PUBLIC;
