-- A point that must not be removed, and damage that a verification found in it (a document).
ALTER TABLE points ADD COLUMN protected_reason TEXT;
ALTER TABLE points ADD COLUMN protected_ms BIGINT;
ALTER TABLE points ADD COLUMN damage TEXT;

-- Of a copy: the datastore that it writes to.
ALTER TABLE jobs ADD COLUMN target_id TEXT;

-- Bytes in a datastore: NULL while nobody has measured them. How it was verified and pruned last: documents.
ALTER TABLE datastores ADD COLUMN stored_bytes BIGINT;
ALTER TABLE datastores ADD COLUMN verified_quick TEXT;
ALTER TABLE datastores ADD COLUMN verified_full TEXT;
ALTER TABLE datastores ADD COLUMN pruned TEXT;
