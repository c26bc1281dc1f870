CREATE TABLE parcels (id bigint PRIMARY KEY, name text NOT NULL);
