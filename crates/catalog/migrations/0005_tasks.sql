-- What is backed up, how, and how long it is kept. source, options, retention and retry are documents.
CREATE TABLE tasks (
    id                 TEXT PRIMARY KEY NOT NULL,
    name               TEXT NOT NULL UNIQUE,
    client_id          TEXT NOT NULL REFERENCES clients (id),
    source             TEXT NOT NULL,
    backup_type        TEXT NOT NULL,
    options            TEXT NOT NULL,
    retention          TEXT,
    drive              BIGINT,
    priority           BIGINT NOT NULL,
    retry              TEXT NOT NULL,
    time_limit_minutes BIGINT,
    enabled            BIGINT NOT NULL,
    created_ms         BIGINT NOT NULL
);
CREATE INDEX tasks_by_client ON tasks (client_id);

-- Tasks that start together.
CREATE TABLE task_groups (
    name       TEXT PRIMARY KEY NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE TABLE group_tasks (
    group_name TEXT NOT NULL REFERENCES task_groups (name) ON DELETE CASCADE,
    task_id    TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    PRIMARY KEY (group_name, task_id)
);

-- How a VM was to be read, in which state its disks were frozen, which of them were left out (documents).
ALTER TABLE points ADD COLUMN backup_type TEXT;
ALTER TABLE points ADD COLUMN consistency TEXT;
ALTER TABLE points ADD COLUMN left_out TEXT;
