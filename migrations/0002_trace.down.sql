ALTER TABLE messages DROP COLUMN traceparent, DROP COLUMN tracestate;
