COMMENT ON TABLE parcels IS 'a step that stores nothing';
