ALTER TABLE status_counts DROP COLUMN written_by;
