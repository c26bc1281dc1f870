ALTER TABLE attempts DROP COLUMN unsent;
