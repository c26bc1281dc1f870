-- The transaction that wrote a row of the counts. A reader begins at the oldest
-- that can still matter, and does not read the rows that were folded before:
-- Postgres can't remove those while somebody, a backup for one, holds an old
-- snapshot.
ALTER TABLE status_counts ADD COLUMN written_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX status_counts_written_by ON status_counts (written_by);
