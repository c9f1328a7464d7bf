-- When something starts. settings is a document; what is decided by it stands beside it: up to when everything has been
-- decided, and when there is something to decide again (NULL: never).
CREATE TABLE schedules (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL UNIQUE,
    settings   TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    decided_ms BIGINT NOT NULL,
    next_ms    BIGINT
);
CREATE INDEX schedules_by_next ON schedules (next_ms);

-- What became of each start. The key is what makes a start happen once: its jobs are queued in the transaction that
-- inserts its row.
CREATE TABLE schedule_starts (
    schedule_id   TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    nominal_ms    BIGINT NOT NULL,
    at_ms         BIGINT NOT NULL,
    outcome       TEXT NOT NULL,
    run_id        TEXT,
    problem       TEXT,
    follow_up     TEXT,
    follow_up_run TEXT,
    pending       BIGINT NOT NULL,              -- something is still to be done about it
    PRIMARY KEY (schedule_id, nominal_ms)
);
CREATE INDEX schedule_starts_pending ON schedule_starts (pending, nominal_ms);
