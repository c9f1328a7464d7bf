-- Drives: numbered ways into a datastore, each with so many channels.
CREATE TABLE drives (
    number       BIGINT PRIMARY KEY NOT NULL,
    name         TEXT UNIQUE,
    datastore_id TEXT NOT NULL REFERENCES datastores (id),
    channels     BIGINT NOT NULL,
    created_ms   BIGINT NOT NULL
);

-- How many jobs may work on a pool at once, on one of its hosts, on one of its SRs. NULL: as the server is set.
ALTER TABLE clients ADD COLUMN max_jobs BIGINT;
ALTER TABLE clients ADD COLUMN max_host_jobs BIGINT;
ALTER TABLE clients ADD COLUMN max_sr_jobs BIGINT;

-- Jobs in one lane are of one kind and need the same pool, datastores and drive: what keeps the first of them back for
-- one of these reasons keeps all of them back, and nobody need look at the others.
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN drive BIGINT;
ALTER TABLE jobs ADD COLUMN mover TEXT;
-- What it belongs to: a document; the two ids by which jobs are looked for stand beside it.
ALTER TABLE jobs ADD COLUMN origin TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN run_id TEXT;
ALTER TABLE jobs ADD COLUMN task_id TEXT;
-- What happens after it failed or was interrupted, and what it tries again.
ALTER TABLE jobs ADD COLUMN retries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN retry_wait_s BIGINT NOT NULL DEFAULT 300;
ALTER TABLE jobs ADD COLUMN retry_of TEXT;
-- How long it may run, and whether it was stopped for that.
ALTER TABLE jobs ADD COLUMN time_limit_ms BIGINT;
ALTER TABLE jobs ADD COLUMN overdue BIGINT NOT NULL DEFAULT 0;
-- Of a running one: the host and the SRs (a document) that it works on, and what it still waits for (a document).
ALTER TABLE jobs ADD COLUMN host TEXT;
ALTER TABLE jobs ADD COLUMN srs TEXT;
ALTER TABLE jobs ADD COLUMN waiting TEXT;

UPDATE jobs SET lane = kind || '/' || COALESCE(client_id, '') || '/' || COALESCE(datastore_id, '') || '/'
    || COALESCE(target_id, '') || '/' WHERE state = 'queued';

CREATE INDEX jobs_by_lane ON jobs (state, lane, priority DESC, subject, number);
CREATE INDEX jobs_by_run ON jobs (run_id, number);
CREATE INDEX jobs_by_task ON jobs (task_id, number);
