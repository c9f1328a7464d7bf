//! The journal: what jobs have made outside and not yet removed.
//!
//! The entries of a recover job, and those that it clears, belong to the job that it cleans up after (its *root*): so a
//! recovery that is interrupted itself loses nothing.
//!
//! What an entry says is sealed: it may hold the metadata of a VM, and with it the contents of a virtual TPM.

use jiff::Timestamp;
use sqlx::Row as _;
use uuid::Uuid;
use xenkeep_api::{JobId, JournalEntry, Secret};

use crate::words::{from_json, id, json, millis};
use crate::{Catalog, Error, claims};

impl Catalog {
    /// Writes an entry, or replaces the one of its id. It is on disk when this returns.
    pub async fn journal_write(
        &self,
        job: JobId,
        fence: i64,
        entry: &JournalEntry,
        now: Timestamp,
    ) -> Result<(), Error> {
        let what = Secret::new(json(&entry.what));
        let mut tx = self.write_row().await?;
        let root = claims::held(&mut tx, job, fence).await?;
        let sealed = self.sealer().seal(&what_place(root, entry.id), &what)?;
        // Only one's own entry is replaced: the id of another job's entry changes no row, and is refused below.
        let done = sqlx::query(
            "INSERT INTO journal (id, job_id, number, what_sealed, written_ms) \
             VALUES ($1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM journal), $3, $4) \
             ON CONFLICT (id) DO UPDATE SET what_sealed = excluded.what_sealed \
             WHERE journal.job_id = excluded.job_id",
        )
        .bind(entry.id.to_string())
        .bind(root.to_string())
        .bind(sealed)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::Contradiction {
                job,
                what: format!("journal entry {} belongs to another job", entry.id),
            });
        }
        Ok(tx.commit().await?)
    }

    /// Removes an entry: what it speaks of is gone, or has been handed over. One that is not there is no error.
    pub async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), Error> {
        let mut tx = self.write_row().await?;
        let root = claims::held(&mut tx, job, fence).await?;
        sqlx::query("DELETE FROM journal WHERE id = $1 AND job_id = $2")
            .bind(entry.to_string())
            .bind(root.to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// What is open of a job, in the order in which it was written.
    pub async fn journal(&self, root: JobId) -> Result<Vec<JournalEntry>, Error> {
        let rows = sqlx::query("SELECT id, what_sealed FROM journal WHERE job_id = $1 ORDER BY number")
            .bind(root.to_string())
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                let entry = id("journal.id", row.try_get("id")?)?;
                let what = self.sealer().open(&what_place(root, entry), row.try_get("what_sealed")?)?;
                Ok(JournalEntry { id: entry, what: from_json("journal.what", what.expose())? })
            })
            .collect()
    }

    /// Ended jobs with an open journal and nobody, queued or running, to clean up after them.
    pub async fn unrecovered_jobs(&self) -> Result<Vec<JobId>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT journal.job_id FROM journal JOIN jobs ON jobs.id = journal.job_id \
             WHERE jobs.state NOT IN ('queued', 'running') AND NOT EXISTS (SELECT 1 FROM jobs AS recovery \
             WHERE recovery.root_id = journal.job_id AND recovery.state IN ('queued', 'running'))",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| id("journal.job_id", row.try_get(0)?)).collect()
    }
}

/// Where the text of an entry lies: opened in another row, or for another job, it is refused.
fn what_place(root: JobId, entry: Uuid) -> String {
    format!("journal/{root}/{entry}/what")
}
