-- Machines that move data. Of a token only the SHA-256 is kept; the mover that is built into a server has none.
CREATE TABLE movers (
    name         TEXT PRIMARY KEY NOT NULL,
    token_sha256 TEXT UNIQUE,
    version      TEXT,
    addresses    TEXT NOT NULL,                  -- a document: what it said of itself, and where it was seen
    capacity     BIGINT NOT NULL,
    last_seen_ms BIGINT,
    created_ms   BIGINT NOT NULL
);

-- The mover that does the jobs of a client (NULL: whichever is free), and those that reach a datastore (a document;
-- NULL: as in the time when there was but one mover).
ALTER TABLE clients ADD COLUMN mover TEXT;
ALTER TABLE datastores ADD COLUMN movers TEXT;
