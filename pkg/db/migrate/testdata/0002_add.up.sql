ALTER TABLE parcels ADD COLUMN weight integer;
CREATE INDEX parcels_weight ON parcels (weight);
