//! The end of a running job: reported by its mover, or because nothing was heard of it.
//!
//! Everything that follows from the end (the restore points it made, the client it checked, the recovery that must clean
//! up after it) is written in the transaction that ends it: there is no moment at which one is there without the other.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{Job, JobId, JobReport, JobResult, JobSpec, JobState, Point, Problem, RetentionPolicy, RetryPolicy};

use crate::db::{Connection, Row, Write};
use crate::words::{from_number, from_word, json, millis, word};
use crate::{Catalog, Error, NewJob, clients, datastores, jobs, points, tasks};

/// How long after its time limit a job may clean up behind itself. Then it is interrupted: a mover that renews a lease
/// and does nothing else would have it run for ever.
const PATIENCE_MS: i64 = 15 * 60 * 1000;

/// A job that has just ended, for the decision what follows: a recovery, another try, whatever comes after it.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The job, in its final state.
    pub job: Job,
    /// The VM that it had for itself.
    pub vm_key: Option<String>,
    /// How many tries came before it.
    pub attempt: u32,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// Something that it made outside is not undone.
    pub open_journal: bool,
    /// If it was a good backup of a task that says how long points are kept: all of them, by what was backed up.
    pub kept: Vec<Kept>,
}

/// The points among which a task's policy chooses.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The policy.
    pub policy: RetentionPolicy,
    /// Name of the datastore.
    pub datastore_name: String,
    /// The points of the same source in the same datastore, the newest first.
    pub points: Vec<Point>,
    /// Ids of those that a job reads.
    pub in_use: HashSet<String>,
}

/// The jobs that follow an ended one. Called inside the transaction that ends it; they are queued in it, too.
pub type FollowUps<'a> = &'a (dyn Fn(&Ended) -> Vec<NewJob> + Send + Sync);

impl Catalog {
    /// Ends a job as its mover reports it. Repeating the same report is no error.
    pub async fn finish(
        &self,
        job: JobId,
        fence: i64,
        report: &JobReport,
        now: Timestamp,
        follow_ups: FollowUps<'_>,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT state, fence, overdue, cancel_requested, time_limit_ms FROM jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(Error::LeaseLost(job))?;
        let state: JobState = from_word("jobs.state", row.try_get("state")?)?;
        if row.try_get::<i64, _>("fence")? != fence {
            return Err(Error::LeaseLost(job));
        }
        let report = &over_time(job, report, &row)?;
        if state.is_final() && state == report.state {
            return Ok(());
        }
        if state != JobState::Running {
            return Err(Error::LeaseLost(job));
        }
        write_report(&mut tx, job, report, now).await?;
        let mut ended = ended(&mut tx, job).await?;
        if let (Some(client), Some(pool)) = (ended.job.spec.client(), &report.pool) {
            clients::seen(&mut tx, client, pool).await?;
        }
        write_effects(&mut tx, &ended.job, report, now).await?;
        ended.kept = kept(&mut tx, &ended.job).await?;
        for job in follow_ups(&ended) {
            jobs::insert(&mut tx, &job, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Interrupts the running jobs of a mover that is gone. Jobs of which nobody knows whose they are were its, too.
    pub async fn interrupt_of(
        &self,
        mover: &str,
        now: Timestamp,
        follow_ups: FollowUps<'_>,
    ) -> Result<Vec<JobId>, Error> {
        self.interrupt(None, Some(mover), now, follow_ups).await
    }

    /// Interrupts the running jobs whose lease has run out.
    pub async fn interrupt_expired(&self, now: Timestamp, follow_ups: FollowUps<'_>) -> Result<Vec<JobId>, Error> {
        self.interrupt(Some(now), None, now, follow_ups).await
    }

    async fn interrupt(
        &self,
        expired_at: Option<Timestamp>,
        mover: Option<&str>,
        now: Timestamp,
        follow_ups: FollowUps<'_>,
    ) -> Result<Vec<JobId>, Error> {
        const SELECT: &str = "SELECT id FROM jobs WHERE state = 'running' \
             AND ($2 IS NULL OR mover IS NULL OR mover = $2) AND ($1 IS NULL OR lease_until_ms < $1 \
             OR (overdue = 1 AND started_ms + time_limit_ms + $3 < $1)) ORDER BY number";
        let limit = expired_at.map(millis);
        if sqlx::query(SELECT).bind(limit).bind(mover).bind(PATIENCE_MS).fetch_optional(self.readers()).await?.is_none()
        {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let rows = sqlx::query(SELECT).bind(limit).bind(mover).bind(PATIENCE_MS).fetch_all(&mut *tx).await?;
        let mut interrupted = Vec::with_capacity(rows.len());
        for row in rows {
            let job = crate::words::id("jobs.id", row.try_get(0)?)?;
            // The fence rises, so that nothing that its old mover says counts any more.
            sqlx::query(
                "UPDATE jobs SET state = $2, fence = fence + 1, finished_ms = $3, secret_sealed = NULL, waiting = NULL \
                 WHERE id = $1 AND state = 'running'",
            )
            .bind(row.try_get::<String, _>(0)?)
            .bind(word(&JobState::Interrupted))
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
            for job in follow_ups(&ended(&mut tx, job).await?) {
                jobs::insert(&mut tx, &job, now).await?;
            }
            interrupted.push(job);
        }
        tx.commit().await?;
        Ok(interrupted)
    }

    /// A job that ended earlier, for the decision whether something must still clean up after it.
    pub async fn ended(&self, job: JobId) -> Result<Ended, Error> {
        let mut connection = self.readers().acquire().await?;
        ended(&mut connection, job).await
    }
}

/// Whoever was stopped because it took too long has failed.
fn over_time(job: JobId, report: &JobReport, row: &Row) -> Result<JobReport, Error> {
    let mut report = report.clone();
    let limit: Option<i64> = row.try_get("time_limit_ms")?;
    let stopped = row.try_get::<i64, _>("overdue")? == 1 && row.try_get::<i64, _>("cancel_requested")? == 0;
    if let (JobState::Cancelled, true, Some(limit)) = (report.state, stopped, limit) {
        report.state = JobState::Failed;
        report.problem = Some(time_limit_passed(job, limit));
    }
    Ok(report)
}

fn time_limit_passed(job: JobId, limit_ms: i64) -> Problem {
    let seconds = limit_ms / 1000;
    let limit = if seconds % 60 == 0 { format!("{} minutes", seconds / 60) } else { format!("{seconds} seconds") };
    Problem::new("job.time_limit", format!("job {job} was stopped: it had run for longer than its time limit, {limit}"))
        .hint("give the task a longer time limit, or see in the job's log what took so long")
        .about(job.to_string())
}

async fn write_report(tx: &mut Write, job: JobId, report: &JobReport, now: Timestamp) -> Result<(), Error> {
    if !report.state.is_final() || report.state == JobState::Interrupted {
        return Err(Error::Contradiction { job, what: format!("{} is no end to report", word(&report.state)) });
    }
    sqlx::query(
        "UPDATE jobs SET state = $2, finished_ms = $3, progress = $4, problem = $5, warnings = $6, result = $7, \
         lease_until_ms = NULL, secret_sealed = NULL, waiting = NULL WHERE id = $1",
    )
    .bind(job.to_string())
    .bind(word(&report.state))
    .bind(millis(now))
    .bind(json(&report.progress))
    .bind(report.problem.as_ref().map(json))
    .bind(json(&report.warnings))
    .bind(report.result.as_ref().map(json))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What follows from a report for the other tables.
async fn write_effects(tx: &mut Write, job: &Job, report: &JobReport, now: Timestamp) -> Result<(), Error> {
    let contradiction = |what: &str| Error::Contradiction { job: job.id, what: what.to_owned() };
    match (&job.spec, &report.result) {
        (JobSpec::CheckClient { client }, Some(JobResult::Pool { pool, .. })) => match pool {
            Some(pool) => clients::checked(tx, *client, pool).await,
            None => Ok(()),
        },
        (JobSpec::BrowseClient { client }, Some(JobResult::Inventory { inventory })) => {
            clients::seen(tx, *client, &inventory.pool).await
        }
        (JobSpec::CreateDatastore { datastore }, Some(JobResult::Datastore { repository_id })) => {
            datastores::created(tx, *datastore, repository_id).await
        }
        (JobSpec::AttachDatastore { datastore }, Some(JobResult::Datastore { repository_id })) => {
            datastores::attached(tx, *datastore, repository_id).await
        }
        (JobSpec::RescanDatastore { datastore }, Some(JobResult::Rescanned { rescan })) => {
            insert_points(tx, job, &rescan.added).await?;
            points::remove(tx, *datastore, &rescan.gone).await?;
            for point in &rescan.protections {
                points::protect(tx, *datastore, &point.id, point.protection.as_ref()).await?;
            }
            Ok(())
        }
        (JobSpec::DatastoreKeys { .. }, Some(JobResult::Keys { .. })) => Ok(()),
        (
            JobSpec::Backup { datastore, .. } | JobSpec::BackupMetaData { datastore, .. },
            Some(JobResult::Point { point }),
        ) => {
            datastores::grown(tx, *datastore, point.stored_bytes).await?;
            insert_points(tx, job, std::slice::from_ref(point)).await
        }
        (JobSpec::BackupHost { datastore, .. }, Some(JobResult::Points { points })) => {
            datastores::grown(tx, *datastore, points.iter().map(|point| point.stored_bytes).sum()).await?;
            insert_points(tx, job, points).await
        }
        (JobSpec::ForgetPoints { datastore, points }, Some(JobResult::Forgotten { points: gone })) => {
            if gone.iter().any(|id| !points.contains(id)) {
                return Err(contradiction("it removed a point that it was not asked to"));
            }
            points::remove(tx, *datastore, gone).await
        }
        (JobSpec::ProtectPoint { datastore, .. }, Some(JobResult::Protection { point, protection })) => {
            points::protect(tx, *datastore, point, protection.as_ref()).await
        }
        (JobSpec::PruneDatastore { datastore, .. }, Some(JobResult::Pruned { prune })) => {
            datastores::pruned(tx, *datastore, now, job.id, prune).await
        }
        (JobSpec::VerifyDatastore { datastore, .. }, Some(JobResult::Verified { verify })) => {
            datastores::verified(tx, *datastore, now, job.id, verify).await?;
            points::verified(tx, *datastore, now, verify).await
        }
        (JobSpec::CopyPoints { target, .. }, Some(JobResult::Copied { copy })) => {
            if copy.points.iter().any(|point| point.datastore != *target) {
                return Err(contradiction("a copy in another datastore"));
            }
            datastores::grown(tx, *target, copy.stored_bytes).await?;
            points::insert(tx, &copy.points).await
        }
        (JobSpec::Recover { interrupted, .. }, Some(JobResult::Recovered { points, .. })) => {
            if !points.is_empty() {
                jobs::withdraw_retry(tx, *interrupted, now).await?;
            }
            insert_points(tx, job, points).await
        }
        (JobSpec::Restore { .. }, Some(JobResult::Vm { .. }))
        | (JobSpec::PlanRestore { .. }, Some(JobResult::RestorePlan { .. }))
        | (JobSpec::ExpandSelection { .. }, Some(JobResult::Selected { .. }))
        | (JobSpec::RestoreMetaData { .. }, Some(JobResult::MetaDataRestored { .. }))
        | (JobSpec::RestoreHost { .. }, Some(JobResult::HostRestored { .. }))
        | (JobSpec::Export { .. }, Some(JobResult::Export { .. })) => Ok(()),
        (_, None) if !report.state.is_good() => Ok(()),
        (_, None) => Err(contradiction("a good end without a result")),
        (_, Some(_)) => Err(contradiction("the result is not of its kind")),
    }
}

/// What the policy of a task chooses among after a good backup of it.
async fn kept(tx: &mut Write, job: &Job) -> Result<Vec<Kept>, Error> {
    let new: &[Point] = match &job.result {
        Some(JobResult::Point { point }) => std::slice::from_ref(point),
        Some(JobResult::Points { points }) => points,
        _ => return Ok(Vec::new()),
    };
    let Some(task) = job.origin.task.filter(|_| job.state.is_good()) else { return Ok(Vec::new()) };
    let Some(task) = tasks::find(tx, &task.to_string()).await? else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    for point in new {
        tasks::saw(tx, &task, point).await?;
        if let Some(policy) = task.retention.clone() {
            kept.push(Kept {
                policy,
                datastore_name: datastores::name(tx, point.datastore).await?,
                points: points::of_source(tx, point).await?,
                in_use: jobs::points_in_use(tx, point.datastore).await?,
            });
        }
    }
    Ok(kept)
}

async fn insert_points(tx: &mut Write, job: &Job, points: &[Point]) -> Result<(), Error> {
    if points.iter().any(|point| Some(point.datastore) != job.spec.datastore()) {
        return Err(Error::Contradiction { job: job.id, what: "a restore point in another datastore".to_owned() });
    }
    points::insert(tx, points).await
}

async fn ended(tx: &mut Connection, job: JobId) -> Result<Ended, Error> {
    let row = sqlx::query(
        "SELECT jobs.*, CASE WHEN EXISTS (SELECT 1 FROM journal WHERE journal.job_id = COALESCE(jobs.root_id, jobs.id)) \
         THEN 1 ELSE 0 END AS open_journal FROM jobs WHERE id = $1",
    )
    .bind(job.to_string())
    .fetch_optional(tx)
    .await?
    .ok_or(Error::LeaseLost(job))?;
    from_row(&row)
}

fn from_row(row: &Row) -> Result<Ended, Error> {
    Ok(Ended {
        job: jobs::job(row)?,
        vm_key: row.try_get("vm_key")?,
        attempt: from_number("jobs.attempt", row.try_get("attempt")?)?,
        retry: RetryPolicy {
            retries: from_number("jobs.retries", row.try_get("retries")?)?,
            wait_seconds: from_number("jobs.retry_wait_s", row.try_get("retry_wait_s")?)?,
        },
        open_journal: row.try_get::<i64, _>("open_journal")? == 1,
        kept: Vec::new(),
    })
}
