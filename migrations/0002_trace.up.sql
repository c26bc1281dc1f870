-- The W3C trace context that came in with the message. A nullable column
-- without a default: no row is written anew.
ALTER TABLE messages ADD COLUMN traceparent text, ADD COLUMN tracestate text;
