-- Ids are uuids as text, times are milliseconds since 1970 UTC, documents are JSON text: so that one set of queries
-- serves PostgreSQL as well, where only the types of this file change.

-- Facts about the database itself.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
);

-- Pools. A row that is not ready is being added: it is shown to nobody, and removed when its check fails.
CREATE TABLE clients (
    id                 TEXT PRIMARY KEY NOT NULL,
    name               TEXT NOT NULL UNIQUE,
    address            TEXT NOT NULL,
    user_name          TEXT NOT NULL,
    password_sealed    BLOB NOT NULL,
    transport          TEXT NOT NULL,
    certificate_sha256 TEXT,
    pool               TEXT,
    ready              BIGINT NOT NULL,
    created_ms         BIGINT NOT NULL
);

-- Repositories. Without a repository_id it is being created.
CREATE TABLE datastores (
    id              TEXT PRIMARY KEY NOT NULL,
    name            TEXT NOT NULL UNIQUE,
    path            TEXT NOT NULL UNIQUE,
    password_sealed BLOB NOT NULL,
    repository_id   TEXT,
    created_ms      BIGINT NOT NULL
);

-- Jobs outlive what they are about: no foreign keys.
CREATE TABLE jobs (
    id               TEXT PRIMARY KEY NOT NULL,
    number           BIGINT NOT NULL,            -- order of arrival
    kind             TEXT NOT NULL,
    state            TEXT NOT NULL,
    spec             TEXT NOT NULL,
    subject          TEXT NOT NULL,
    client_id        TEXT,
    datastore_id     TEXT,
    vm_key           TEXT,                       -- which VM it must have for itself
    root_id          TEXT,                       -- of a recover job: the job that it cleans up after
    attempt          BIGINT NOT NULL,            -- of a recover job: how many came before
    not_before_ms    BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL,
    fence            BIGINT NOT NULL,            -- rises with each lease
    lease_until_ms   BIGINT,
    created_ms       BIGINT NOT NULL,
    started_ms       BIGINT,
    finished_ms      BIGINT,
    progress         TEXT NOT NULL,
    problem          TEXT,
    warnings         TEXT NOT NULL,
    result           TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_number ON jobs (number);
CREATE INDEX jobs_by_root ON jobs (root_id);

CREATE TABLE job_log (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    at_ms  BIGINT NOT NULL,
    level  TEXT NOT NULL,
    step   TEXT NOT NULL,
    text   TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
);

-- What jobs have made outside and not yet removed. Entries of a recover job belong to the job that it cleans up after.
CREATE TABLE journal (
    id          TEXT PRIMARY KEY NOT NULL,
    job_id      TEXT NOT NULL,
    number      BIGINT NOT NULL,
    what_sealed BLOB NOT NULL,
    written_ms  BIGINT NOT NULL
);
CREATE INDEX journal_by_job ON journal (job_id, number);

-- Restore points. They outlive the client that they were read from and the job that wrote them.
CREATE TABLE points (
    datastore_id TEXT NOT NULL REFERENCES datastores (id),
    id           TEXT NOT NULL,
    client_id    TEXT NOT NULL,
    client_name  TEXT NOT NULL,
    job_id       TEXT NOT NULL,
    kind         TEXT NOT NULL,
    vm_uuid      TEXT NOT NULL,
    vm_name      TEXT NOT NULL,
    taken_ms     BIGINT NOT NULL,
    size_bytes   BIGINT NOT NULL,
    new_bytes    BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    disks        TEXT NOT NULL,
    PRIMARY KEY (datastore_id, id)
);
CREATE INDEX points_by_taken ON points (taken_ms);

-- API tokens: of each only the SHA-256 is kept.
CREATE TABLE tokens (
    name       TEXT PRIMARY KEY NOT NULL,
    sha256     TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
