-- The lease that a message gets which is emitted as it arrives; NULL while none
-- may be. A tick of the continuous mode that left nothing behind sets it.
ALTER TABLE schedule ADD COLUMN arrival_lease interval;
-- Among is_claim: emitted by who stored it, and no tick waits for it.
ALTER TABLE outbox ADD COLUMN on_arrival boolean NOT NULL DEFAULT false;
