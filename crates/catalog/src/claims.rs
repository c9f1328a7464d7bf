//! Claims: which job runs, for whom, how long without a sign of life.
//!
//! A job is claimed by raising its *fence* and giving it an expiry that renewals push on. Whoever writes about a
//! running job names the fence that was given with it: after an interruption, or for anybody but the holder, no row fits.

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{JobId, JobSpec, LogLine, Places, Problem, Progress};

use crate::db::Connection;
use crate::queue::{self, Lanes, QueueEntry, Rules, Standing};
use crate::words::{from_json, id, json, millis};
use crate::{Catalog, Error, log};

/// A job that has just been claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job.
    pub id: JobId,
    /// What its holder must name from now on.
    pub fence: i64,
    /// What to do.
    pub spec: JobSpec,
    /// The job whose journal it works on: itself, or the one that it cleans up after.
    pub root: JobId,
}

impl Catalog {
    /// Claims a job until `until` for each of `movers` (one may be named several times), as far as `rules` let one run.
    /// Nothing of what they see changes before what they have chosen is written: however many ask, on however many
    /// servers, no job is claimed twice and no limit is passed.
    pub async fn claim(
        &self,
        movers: &[&str],
        now: Timestamp,
        until: Timestamp,
        rules: &dyn Rules,
    ) -> Result<Vec<Option<Claimed>>, Error> {
        let mut claims = Vec::with_capacity(movers.len());
        claims.resize_with(movers.len(), || None);
        if !self.has_waiting().await? {
            return Ok(claims);
        }
        let mut tx = self.write().await?;
        let mut standing = queue::standing(&mut tx).await?;
        let mut lanes = Lanes::read(&mut tx, now).await?;
        let mut any = false;
        for (mover, claim) in movers.iter().zip(&mut claims) {
            while claim.is_none() {
                let Some(mut job) = lanes.take(&mut tx, &standing, mover, rules).await? else { break };
                *claim = claim_one(&mut tx, job.id, mover, now, until).await?;
                job.mover = Some((*mover).to_owned());
                standing.recoveries.retain(|recovery| recovery.id != job.id);
                standing.alone.retain(|alone| alone.id != job.id);
                standing.running.push(job);
                any = true;
            }
        }
        // Where nothing was claimed there is nothing to make durable.
        if any {
            tx.commit().await?
        } else {
            tx.rollback().await?
        }
        Ok(claims)
    }

    /// Pushes the expiry of a claim on, with the numbers and log lines since the last time. Says whether cancelling
    /// was asked for.
    pub async fn renew(
        &self,
        job: JobId,
        fence: i64,
        until: Timestamp,
        progress: &Progress,
        lines: &[LogLine],
    ) -> Result<bool, Error> {
        let mut tx = self.write_row().await?;
        let row = sqlx::query(
            "UPDATE jobs SET lease_until_ms = $3, progress = $4 WHERE id = $1 AND fence = $2 AND state = 'running' \
             RETURNING cancel_requested + overdue",
        )
        .bind(job.to_string())
        .bind(fence)
        .bind(millis(until))
        .bind(json(progress))
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::LeaseLost(job))?;
        let cancel_requested = row.try_get::<i64, _>(0)? > 0;
        log::append(&mut tx, job, lines).await?;
        tx.commit().await?;
        Ok(cancel_requested)
    }

    /// Gives a claimed job back to the queue, untouched.
    pub async fn release(&self, job: JobId, fence: i64) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE jobs SET state = 'queued', started_ms = NULL, lease_until_ms = NULL, mover = NULL, host = NULL, \
             srs = NULL, waiting = NULL \
             WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(job.to_string())
        .bind(fence)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Whether the claim on a job still holds.
    pub async fn holds(&self, job: JobId, fence: i64) -> Result<(), Error> {
        let row = sqlx::query("SELECT 1 FROM jobs WHERE id = $1 AND fence = $2 AND state = 'running'")
            .bind(job.to_string())
            .bind(fence)
            .fetch_optional(self.readers())
            .await?;
        row.map(drop).ok_or(Error::LeaseLost(job))
    }

    /// Notes where a running job is about to work, unless `decide` names what it must wait for first; then that is
    /// noted, and told.
    pub async fn occupy(
        &self,
        job: JobId,
        fence: i64,
        places: &Places,
        decide: impl FnOnce(&Standing, &QueueEntry) -> Option<Problem> + Send,
    ) -> Result<Option<Problem>, Error> {
        let mut tx = self.write().await?;
        held(&mut tx, job, fence).await?;
        let standing = queue::standing(&mut tx).await?;
        let me = standing.running.iter().find(|running| running.id == job).ok_or(Error::LeaseLost(job))?;
        let wait = decide(&standing, me);
        let (host, srs) = match wait {
            None => (places.host.as_deref(), Some(json(&places.srs))),
            Some(_) => (None, None),
        };
        sqlx::query("UPDATE jobs SET host = $2, srs = $3, waiting = $4 WHERE id = $1")
            .bind(job.to_string())
            .bind(host)
            .bind(srs)
            .bind(wait.as_ref().map(json))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(wait)
    }

    /// Asks for the end of the running jobs that have taken longer than they may; tells which.
    pub async fn stop_overdue(&self, now: Timestamp) -> Result<Vec<JobId>, Error> {
        const FIND: &str =
            "SELECT id FROM jobs WHERE state = 'running' AND overdue = 0 AND started_ms + time_limit_ms < $1";
        const STOP: &str = "UPDATE jobs SET overdue = 1 \
             WHERE state = 'running' AND overdue = 0 AND started_ms + time_limit_ms < $1 RETURNING id";
        if sqlx::query(FIND).bind(millis(now)).fetch_optional(self.readers()).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let rows = sqlx::query(STOP).bind(millis(now)).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        rows.iter().map(|row| id("jobs.id", row.try_get(0)?)).collect()
    }

    async fn has_waiting(&self) -> Result<bool, Error> {
        let row =
            sqlx::query("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").fetch_optional(self.readers()).await?;
        Ok(row.is_some())
    }
}

/// Proves that the claim on a job holds, and locks its row: nobody ends it before this transaction does. Tells the job
/// whose journal it works on.
pub(crate) async fn held(tx: &mut Connection, job: JobId, fence: i64) -> Result<JobId, Error> {
    // Changes nothing: SQLite knows no other way to say both in one text, and a write follows in any case.
    let row = sqlx::query(
        "UPDATE jobs SET fence = fence WHERE id = $1 AND fence = $2 AND state = 'running' RETURNING root_id",
    )
    .bind(job.to_string())
    .bind(fence)
    .fetch_optional(tx)
    .await?
    .ok_or(Error::LeaseLost(job))?;
    let root: Option<String> = row.try_get(0)?;
    root.map_or(Ok(job), |root| id("jobs.root_id", &root))
}

async fn claim_one(
    tx: &mut Connection,
    job: JobId,
    mover: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Claimed>, Error> {
    let row = sqlx::query(
        "UPDATE jobs SET state = 'running', fence = fence + 1, started_ms = $2, lease_until_ms = $3, mover = $4 \
         WHERE id = $1 AND state = 'queued' RETURNING fence, spec, root_id",
    )
    .bind(job.to_string())
    .bind(millis(now))
    .bind(millis(until))
    .bind(mover)
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let root: Option<String> = row.try_get("root_id")?;
    Ok(Some(Claimed {
        id: job,
        fence: row.try_get("fence")?,
        spec: from_json("jobs.spec", row.try_get("spec")?)?,
        root: root.map(|root| id("jobs.root_id", &root)).transpose()?.unwrap_or(job),
    }))
}
