-- The request certainly did not reach the webhook: no connection was made, or
-- nothing was written on it. Without a status and without this, the receiver
-- may have the message.
ALTER TABLE attempts ADD COLUMN unsent boolean NOT NULL DEFAULT false;
