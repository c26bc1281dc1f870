-- A relay takes a new claim number. relayed_from is the number that it took the
-- place of, until an outcome is recorded: a delivery under that number may have
-- reached a sender, and what came of it counts.
ALTER TABLE messages ADD COLUMN relayed_from bigint;
-- relays is how often a relay has taken a claim: whoever had it before can't end
-- it any more. not_before is when a row may be relayed again; NULL: by its age.
ALTER TABLE outbox
    ADD COLUMN relays integer NOT NULL DEFAULT 0,
    ADD COLUMN not_before timestamptz;
-- A service that is not the owner measures the outbox too, and reads how far its
-- ids go.
GRANT SELECT ON SEQUENCE outbox_id_seq TO PUBLIC;
