//! Jobs as people see them: adding, finding, listing, cancelling.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{
    ClientId, DatastoreId, Job, JobId, JobKind, JobSpec, JobState, Origin, Problem, Progress, RetryPolicy, RunId,
    Secret,
};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_number, from_word, id, json, millis, optional_number, text, time, word};
use crate::{Catalog, Error, names};

/// What [`job`] reads.
macro_rules! columns {
    () => {
        "id, spec, subject, state, cancel_requested, created_ms, started_ms, finished_ms, progress, problem, warnings, \
         result, origin, priority, drive, mover, waiting, attempt, retry_of, time_limit_ms, not_before_ms"
    };
}

/// Jobs, the newest first: all, or those of an id or its beginning, of a state, of a kind.
const SELECT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM jobs WHERE ($1 IS NULL OR substr(id, 1, length($1)) = $1) AND ($2 IS NULL OR state = $2) \
     AND ($3 IS NULL OR kind = $3) ORDER BY number DESC LIMIT $4"
);
const SELECT_ONE: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1");
const SELECT_RUN: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE run_id = $1 ORDER BY number");

/// Length of a uuid as text.
const ID_LEN: usize = 36;

/// A job to be added to the queue. Most of it is usual: `NewJob { priority: 5, ..NewJob::new(spec, "web") }`.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What it is to do.
    pub spec: JobSpec,
    /// For people: what it is about. Jobs of one priority run in the order of it.
    pub subject: String,
    /// The VM that it must have for itself, in the words of whoever chooses the next job.
    pub vm_key: Option<String>,
    /// It starts no sooner than this.
    pub not_before: Option<Timestamp>,
    /// How many tries came before it.
    pub attempt: u32,
    /// The job that it tries again.
    pub retry_of: Option<JobId>,
    /// The drive whose channel it takes while it runs.
    pub drive: Option<u32>,
    /// Among those that wait, the higher comes first.
    pub priority: i32,
    /// What it belongs to.
    pub origin: Origin,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// It fails when it has run for longer than this.
    pub time_limit: Option<Duration>,
}

impl NewJob {
    /// A job that nobody has said anything special about.
    #[must_use]
    pub fn new(spec: JobSpec, subject: impl Into<String>) -> Self {
        Self {
            id: JobId::random(),
            spec,
            subject: subject.into(),
            vm_key: None,
            not_before: None,
            attempt: 0,
            retry_of: None,
            drive: None,
            priority: 0,
            origin: Origin::default(),
            retry: RetryPolicy::default(),
            time_limit: None,
        }
    }
}

/// Which jobs to list; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Jobs in this state.
    pub state: Option<JobState>,
    /// Jobs of this kind.
    pub kind: Option<JobKind>,
}

/// What a job may belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    Client,
    Datastore,
}

impl Catalog {
    /// Adds a job to the queue. Refused when it removes a point that another one reads, or reads one that another one
    /// removes.
    pub async fn insert_job(&self, job: &NewJob, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        refuse_conflicts(&mut tx, &job.spec).await?;
        insert(&mut tx, job, now).await?;
        Ok(tx.commit().await?)
    }

    /// Adds jobs to the queue that start together: all of them or none.
    pub async fn insert_jobs(&self, jobs: &[NewJob], now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        for job in jobs {
            insert(&mut tx, job, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Adds a job that is about a password. It is kept, sealed, until the job ends.
    pub async fn insert_job_with(&self, job: &NewJob, secret: &Secret, now: Timestamp) -> Result<(), Error> {
        let sealed = self.sealer().seal(&secret_place(job.id), secret)?;
        let mut tx = self.write().await?;
        insert(&mut tx, job, now).await?;
        sqlx::query("UPDATE jobs SET secret_sealed = $2 WHERE id = $1")
            .bind(job.id.to_string())
            .bind(sealed)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The password that an unfinished job is about, if there is one.
    pub async fn job_secret(&self, job: JobId) -> Result<Option<Secret>, Error> {
        let query = sqlx::query("SELECT secret_sealed FROM jobs WHERE id = $1").bind(job.to_string());
        let row = query.fetch_optional(self.readers()).await?;
        let sealed: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        sealed.map(|sealed| self.sealer().open(&secret_place(job), &sealed)).transpose()
    }

    /// The points that queued and running jobs read.
    pub async fn points_in_use(&self) -> Result<HashSet<(DatastoreId, String)>, Error> {
        let mut connection = self.readers().acquire().await?;
        let mut points = HashSet::new();
        for (_, spec) in unfinished(&mut connection).await? {
            if let Some(datastore) = spec.datastore() {
                points.extend(spec.points_read().iter().map(|point| (datastore, point.clone())));
            }
        }
        Ok(points)
    }

    /// The jobs of a client that have not ended, or that still have something to be undone.
    pub async fn unfinished_jobs(&self, client: ClientId) -> Result<Vec<JobId>, Error> {
        let query = "SELECT id FROM jobs WHERE client_id = $1 AND (state IN ('queued', 'running') \
            OR EXISTS (SELECT 1 FROM journal WHERE journal.job_id = jobs.id))";
        let rows = sqlx::query(query).bind(client.to_string()).fetch_all(self.readers()).await?;
        rows.iter().map(|row| id("jobs.id", row.try_get(0)?)).collect()
    }

    /// The job of an id.
    pub async fn job(&self, job: JobId) -> Result<Job, Error> {
        let query = sqlx::query(SELECT_ONE).bind(job.to_string());
        match query.fetch_optional(self.readers()).await? {
            Some(row) => self::job(&row),
            None => Err(Error::NotFound(unknown(&job.to_string()))),
        }
    }

    /// All jobs of one start, in order of arrival.
    pub async fn jobs_of_run(&self, run: RunId) -> Result<Vec<Job>, Error> {
        let query = sqlx::query(SELECT_RUN).bind(run.to_string());
        query.fetch_all(self.readers()).await?.iter().map(job).collect()
    }

    /// The job of an id or of its beginning.
    pub async fn find_job(&self, id_or_prefix: &str) -> Result<Job, Error> {
        let none = || Error::NotFound(unknown(id_or_prefix));
        let prefix = names::id_prefix(id_or_prefix, ID_LEN).ok_or_else(none)?;
        let rows = self.select_jobs(Some(&prefix), &JobFilter::default(), 5).await?;
        match rows.as_slice() {
            [] => Err(none()),
            [row] => job(row),
            rows => {
                let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
                Err(Error::Ambiguous(names::ambiguous("job", &prefix, &ids)))
            }
        }
    }

    /// Jobs, the newest first, no more than `limit`.
    pub async fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<Vec<Job>, Error> {
        self.select_jobs(None, filter, limit).await?.iter().map(job).collect()
    }

    async fn select_jobs(&self, prefix: Option<&str>, filter: &JobFilter, limit: u32) -> Result<Vec<Row>, Error> {
        let query = sqlx::query(SELECT)
            .bind(prefix)
            .bind(filter.state.as_ref().map(word))
            .bind(filter.kind.as_ref().map(word))
            .bind(i64::from(limit));
        Ok(query.fetch_all(self.readers()).await?)
    }

    /// Asks for the end of a job: a queued one ends at once, a running one is told by its next renewal.
    pub async fn cancel_job(&self, job: JobId, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let row =
            sqlx::query("SELECT state FROM jobs WHERE id = $1").bind(job.to_string()).fetch_optional(&mut *tx).await?;
        let Some(row) = row else {
            return Err(Error::NotFound(unknown(&job.to_string())));
        };
        let state: JobState = from_word("jobs.state", row.try_get(0)?)?;
        if state.is_final() {
            let message = format!("job {job} has ended already: {}", word(&state));
            return Err(Error::InUse(Problem::new("job.ended", message).about(job.to_string())));
        }
        if state == JobState::Queued {
            sqlx::query("UPDATE jobs SET state = $2, cancel_requested = 1, finished_ms = $3, secret_sealed = NULL WHERE id = $1")
                .bind(job.to_string())
                .bind(word(&JobState::Cancelled))
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
        } else {
            sqlx::query("UPDATE jobs SET cancel_requested = 1 WHERE id = $1")
                .bind(job.to_string())
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets the ended jobs of a kind that ended before a time, with their logs.
    pub async fn forget_jobs(&self, kind: JobKind, ended_before: Timestamp) -> Result<u64, Error> {
        let mut tx = self.write().await?;
        let done = sqlx::query("DELETE FROM jobs WHERE kind = $1 AND finished_ms < $2")
            .bind(word(&kind))
            .bind(millis(ended_before))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

fn unknown(job: &str) -> Problem {
    names::not_found("job", job, &[], "xenkeep job list shows all jobs")
}

fn secret_place(job: JobId) -> String {
    format!("jobs/{job}/secret")
}

/// Adds a job to the queue.
pub(crate) async fn insert(tx: &mut Connection, job: &NewJob, now: Timestamp) -> Result<(), Error> {
    let root = match &job.spec {
        JobSpec::Recover { interrupted, .. } => Some(interrupted.to_string()),
        _ => None,
    };
    sqlx::query(
        "INSERT INTO jobs (id, number, kind, state, spec, subject, client_id, datastore_id, target_id, vm_key, root_id, \
         attempt, not_before_ms, cancel_requested, fence, created_ms, progress, warnings, lane, priority, drive, origin, \
         run_id, task_id, retries, retry_wait_s, retry_of, time_limit_ms) \
         VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM jobs), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, \
         0, $13, $14, '[]', $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)",
    )
    .bind(job.id.to_string())
    .bind(word(&job.spec.kind()))
    .bind(word(&JobState::Queued))
    .bind(json(&job.spec))
    .bind(text(&job.subject))
    .bind(job.spec.client().map(|client| client.to_string()))
    .bind(job.spec.datastore().map(|datastore| datastore.to_string()))
    .bind(job.spec.target().map(|target| target.to_string()))
    .bind(&job.vm_key)
    .bind(root)
    .bind(i64::from(job.attempt))
    .bind(job.not_before.map_or(0, millis))
    .bind(millis(now))
    .bind(json(&Progress::default()))
    .bind(lane(job))
    .bind(i64::from(job.priority))
    .bind(job.drive.map(i64::from))
    .bind(json(&job.origin))
    .bind(job.origin.run.map(|run| run.to_string()))
    .bind(job.origin.task.map(|task| task.to_string()))
    .bind(i64::from(job.retry.retries))
    .bind(i64::from(job.retry.wait_seconds))
    .bind(job.retry_of.map(|job| job.to_string()))
    .bind(job.time_limit.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)))
    .execute(tx)
    .await?;
    Ok(())
}

/// What a job needs beside its VM; jobs that need the same wait in the same lane. The migration that brought lanes says
/// the same in SQL.
fn lane(job: &NewJob) -> String {
    let spec = &job.spec;
    let client = spec.client().map(|client| client.to_string()).unwrap_or_default();
    let datastore = |id: Option<DatastoreId>| id.map(|id| id.to_string()).unwrap_or_default();
    let (from, to) = (datastore(spec.datastore()), datastore(spec.target()));
    let drive = job.drive.map(|drive| drive.to_string()).unwrap_or_default();
    format!("{}/{client}/{from}/{to}/{drive}", word(&spec.kind()))
}

/// The interrupted job had done its work after all: it need not be tried again.
pub(crate) async fn withdraw_retry(tx: &mut Connection, job: JobId, now: Timestamp) -> Result<(), Error> {
    let message = format!("job {job}, which this one was to try again, had written its restore point");
    sqlx::query("UPDATE jobs SET state = $2, finished_ms = $3, problem = $4 WHERE retry_of = $1 AND state = 'queued'")
        .bind(job.to_string())
        .bind(word(&JobState::Cancelled))
        .bind(millis(now))
        .bind(json(&Problem::new("job.not_needed", message).about(job.to_string())))
        .execute(tx)
        .await?;
    Ok(())
}

/// What queued and running jobs are to do.
async fn unfinished(tx: &mut Connection) -> Result<Vec<(String, JobSpec)>, Error> {
    let query = "SELECT id, spec FROM jobs WHERE state IN ('queued', 'running')";
    let rows = sqlx::query(query).fetch_all(tx).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, from_json("jobs.spec", row.try_get(1)?)?))).collect()
}

/// The points of a datastore that queued and running jobs read, or remove already.
pub(crate) async fn points_in_use(tx: &mut Connection, datastore: DatastoreId) -> Result<HashSet<String>, Error> {
    let specs = unfinished(tx).await?;
    let here = specs.iter().filter(|(_, spec)| spec.datastore() == Some(datastore));
    Ok(here.flat_map(|(_, spec)| spec.points_read().iter().chain(spec.points_removed())).cloned().collect())
}

/// Nobody reads a point that somebody else removes.
async fn refuse_conflicts(tx: &mut Connection, new: &JobSpec) -> Result<(), Error> {
    if new.points_read().is_empty() && new.points_removed().is_empty() {
        return Ok(());
    }
    let read: HashSet<&String> = new.points_read().iter().collect();
    let removed: HashSet<&String> = new.points_removed().iter().collect();
    for (job, spec) in unfinished(tx).await?.iter().filter(|(_, spec)| spec.datastore() == new.datastore()) {
        let kind = word(&spec.kind());
        if let Some(point) = spec.points_read().iter().find(|point| removed.contains(point)) {
            let message = format!("job {job} ({kind}) reads point {point}: it can't be removed now");
            let problem =
                Problem::new("point.in_use", message).hint(format!("wait for the job: xenkeep job watch {job}"));
            return Err(Error::InUse(problem.about(point.clone())));
        }
        if let Some(point) = spec.points_removed().iter().find(|point| read.contains(point)) {
            let message = format!("point {point} is being removed by job {job}");
            let problem = Problem::new("point.being_removed", message);
            return Err(Error::InUse(problem.hint("choose another point: xenkeep point list").about(point.clone())));
        }
    }
    Ok(())
}

/// A queued or running job of a client or datastore, if there is one.
pub(crate) async fn unfinished_of(tx: &mut Connection, owner: Owner, id: &str) -> Result<Option<String>, Error> {
    let query = match owner {
        Owner::Client => "SELECT id FROM jobs WHERE state IN ('queued', 'running') AND client_id = $1 LIMIT 1",
        Owner::Datastore => {
            "SELECT id FROM jobs WHERE state IN ('queued', 'running') AND (datastore_id = $1 OR target_id = $1) LIMIT 1"
        }
    };
    let row = sqlx::query(query).bind(id).fetch_optional(tx).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub(crate) fn job(row: &Row) -> Result<Job, Error> {
    let optional_time = |column: &str| -> Result<Option<Timestamp>, Error> {
        row.try_get::<Option<i64>, _>(column)?.map(|millis| time(column, millis)).transpose()
    };
    let problem: Option<String> = row.try_get("problem")?;
    let result: Option<String> = row.try_get("result")?;
    let waiting: Option<String> = row.try_get("waiting")?;
    let retry_of: Option<String> = row.try_get("retry_of")?;
    Ok(Job {
        id: id("jobs.id", row.try_get("id")?)?,
        spec: from_json("jobs.spec", row.try_get("spec")?)?,
        subject: row.try_get("subject")?,
        state: from_word("jobs.state", row.try_get("state")?)?,
        cancel_requested: row.try_get::<i64, _>("cancel_requested")? == 1,
        created_at: time("jobs.created_ms", row.try_get("created_ms")?)?,
        started_at: optional_time("started_ms")?,
        finished_at: optional_time("finished_ms")?,
        progress: from_json("jobs.progress", row.try_get("progress")?)?,
        problem: problem.map(|text| from_json("jobs.problem", &text)).transpose()?,
        warnings: from_json("jobs.warnings", row.try_get("warnings")?)?,
        result: result.map(|text| from_json("jobs.result", &text)).transpose()?,
        origin: from_json("jobs.origin", row.try_get("origin")?)?,
        priority: from_number("jobs.priority", row.try_get("priority")?)?,
        drive: optional_number("jobs.drive", row.try_get("drive")?)?,
        mover: row.try_get("mover")?,
        waiting: waiting.map(|text| from_json("jobs.waiting", &text)).transpose()?,
        attempt: from_number("jobs.attempt", row.try_get("attempt")?)?,
        not_before: match row.try_get("not_before_ms")? {
            0 => None,
            millis => Some(time("jobs.not_before_ms", millis)?),
        },
        retry_of: retry_of.map(|text| id("jobs.retry_of", &text)).transpose()?,
        time_limit_seconds: optional_number::<u64>("jobs.time_limit_ms", row.try_get("time_limit_ms")?)?
            .map(|millis| millis / 1000),
    })
}
