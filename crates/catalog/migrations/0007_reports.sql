-- How reports are sent: the mail server, the daily summary. A document each, with a sealed password.
CREATE TABLE report_settings (
    name          TEXT PRIMARY KEY NOT NULL,
    document      TEXT NOT NULL,
    secret_sealed BLOB,
    decided_ms    BIGINT NOT NULL               -- of the summary: up to when its days have been seen to
);
CREATE TABLE webhooks (
    name          TEXT PRIMARY KEY NOT NULL,
    document      TEXT NOT NULL,
    secret_sealed BLOB,
    created_ms    BIGINT NOT NULL
);

-- Reports on their way, one row for each place that gets one. about is what the report is about: it is written once.
CREATE TABLE outbox (
    id          TEXT PRIMARY KEY NOT NULL,
    about       TEXT NOT NULL,
    destination TEXT NOT NULL,
    report      TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    BIGINT NOT NULL,
    next_ms     BIGINT NOT NULL,
    created_ms  BIGINT NOT NULL,
    sent_ms     BIGINT,
    problem     TEXT,
    UNIQUE (about, destination)
);
CREATE INDEX outbox_by_next ON outbox (state, next_ms);

-- Whether an ended job has been looked at for a report. What ended before this version is not reported any more.
ALTER TABLE jobs ADD COLUMN reported BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET reported = 1;
CREATE INDEX jobs_by_reported ON jobs (reported, finished_ms);
