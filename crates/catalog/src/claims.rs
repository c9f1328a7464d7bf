//! Claims: which job runs, for whom, how long without a sign of life.
//!
//! A job is claimed by raising its *fence* and giving it an expiry that renewals push on. Whoever writes about a
//! running job names the fence that was given with it: after an interruption, or for anybody but the holder, no row fits.

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{ClientId, DatastoreId, JobId, JobKind, JobSpec, JobState, LogLine, Progress};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_word, id, json, millis, time, word};
use crate::{Catalog, Error, log};

/// A queued or running job, as far as it matters for choosing the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// Its pool.
    pub client: Option<ClientId>,
    /// Its datastore.
    pub datastore: Option<DatastoreId>,
    /// The datastore that it writes copies to.
    pub target: Option<DatastoreId>,
    /// The VM that it must have for itself.
    pub vm_key: Option<String>,
    /// It starts no sooner than this.
    pub not_before: Timestamp,
}

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
    /// Claims a job for a mover until `until`. `choose` is shown the waiting jobs (in order of arrival) and the running ones, and
    /// names one of the waiting; nothing changes between what it sees and what is written.
    pub async fn claim(
        &self,
        mover: &str,
        now: Timestamp,
        until: Timestamp,
        choose: impl FnOnce(&[QueueEntry], &[QueueEntry]) -> Option<JobId> + Send,
    ) -> Result<Option<Claimed>, Error> {
        if !self.has_waiting().await? {
            return Ok(None);
        }
        let mut tx = self.write().await?;
        let waiting = entries(&mut tx, JobState::Queued).await?;
        let running = entries(&mut tx, JobState::Running).await?;
        let Some(chosen) = choose(&waiting, &running) else { return Ok(None) };
        let row = sqlx::query(
            "UPDATE jobs SET state = 'running', fence = fence + 1, started_ms = $2, lease_until_ms = $3, mover = $4 \
             WHERE id = $1 AND state = 'queued' RETURNING fence, spec, root_id",
        )
        .bind(chosen.to_string())
        .bind(millis(now))
        .bind(millis(until))
        .bind(mover)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let root: Option<String> = row.try_get("root_id")?;
        let claimed = Claimed {
            id: chosen,
            fence: row.try_get("fence")?,
            spec: from_json("jobs.spec", row.try_get("spec")?)?,
            root: root.map(|root| id("jobs.root_id", &root)).transpose()?.unwrap_or(chosen),
        };
        tx.commit().await?;
        Ok(Some(claimed))
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
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "UPDATE jobs SET lease_until_ms = $3, progress = $4 WHERE id = $1 AND fence = $2 AND state = 'running' \
             RETURNING cancel_requested",
        )
        .bind(job.to_string())
        .bind(fence)
        .bind(millis(until))
        .bind(json(progress))
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::LeaseLost(job))?;
        let cancel_requested = row.try_get::<i64, _>(0)? == 1;
        log::append(&mut tx, job, lines).await?;
        tx.commit().await?;
        Ok(cancel_requested)
    }

    /// Gives a claimed job back to the queue, untouched.
    pub async fn release(&self, job: JobId, fence: i64) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE jobs SET state = 'queued', started_ms = NULL, lease_until_ms = NULL, mover = NULL \
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
        let mut connection = self.readers().acquire().await?;
        held(&mut connection, job, fence).await.map(|_| ())
    }

    async fn has_waiting(&self) -> Result<bool, Error> {
        let row =
            sqlx::query("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").fetch_optional(self.readers()).await?;
        Ok(row.is_some())
    }
}

/// Proves that the claim on a job holds; tells the job whose journal it works on.
pub(crate) async fn held(tx: &mut Connection, job: JobId, fence: i64) -> Result<JobId, Error> {
    let row = sqlx::query("SELECT root_id FROM jobs WHERE id = $1 AND fence = $2 AND state = 'running'")
        .bind(job.to_string())
        .bind(fence)
        .fetch_optional(tx)
        .await?
        .ok_or(Error::LeaseLost(job))?;
    let root: Option<String> = row.try_get(0)?;
    root.map_or(Ok(job), |root| id("jobs.root_id", &root))
}

async fn entries(tx: &mut Connection, state: JobState) -> Result<Vec<QueueEntry>, Error> {
    let query = "SELECT id, kind, client_id, datastore_id, target_id, vm_key, not_before_ms FROM jobs WHERE state = $1 \
         ORDER BY number";
    sqlx::query(query).bind(word(&state)).fetch_all(tx).await?.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<QueueEntry, Error> {
    let client: Option<String> = row.try_get("client_id")?;
    let datastore = |column: &str| -> Result<Option<DatastoreId>, Error> {
        row.try_get::<Option<String>, _>(column)?.map(|text| id(column, &text)).transpose()
    };
    Ok(QueueEntry {
        id: id("jobs.id", row.try_get("id")?)?,
        kind: from_word("jobs.kind", row.try_get("kind")?)?,
        client: client.map(|text| id("jobs.client_id", &text)).transpose()?,
        datastore: datastore("datastore_id")?,
        target: datastore("target_id")?,
        vm_key: row.try_get("vm_key")?,
        not_before: time("jobs.not_before_ms", row.try_get("not_before_ms")?)?,
    })
}
