//! What a daily summary looks at.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{ClientId, JobState, Problem, TaskId};

use crate::words::{from_json, from_word, id, millis};
use crate::{Catalog, Error};

/// A backup of a VM that has ended.
#[derive(Debug, Clone)]
pub struct LastBackup {
    /// The pool.
    pub client: ClientId,
    /// Name of the VM, as the job says it.
    pub subject: String,
    /// How it ended.
    pub state: JobState,
}

impl Catalog {
    /// The backups of VMs that have ended since a time.
    pub async fn backups_since(&self, since: Timestamp) -> Result<Vec<LastBackup>, Error> {
        let query = sqlx::query(
            "SELECT DISTINCT client_id, subject, state FROM jobs WHERE kind = 'backup' AND finished_ms >= $1 \
             AND client_id IS NOT NULL",
        );
        let rows = query.bind(millis(since)).fetch_all(self.readers()).await?;
        let backup = |row: &crate::db::Row| {
            Ok(LastBackup {
                client: id("jobs.client_id", row.try_get("client_id")?)?,
                subject: row.try_get("subject")?,
                state: from_word("jobs.state", row.try_get("state")?)?,
            })
        };
        rows.iter().map(backup).collect()
    }

    /// How many jobs have ended in each state since a time; those that only look are left out.
    pub async fn ended_since(&self, since: Timestamp, kinds: &[&str]) -> Result<Vec<(JobState, u64)>, Error> {
        let query =
            sqlx::query("SELECT kind, state, COUNT(*) AS n FROM jobs WHERE finished_ms >= $1 GROUP BY kind, state");
        let mut counts = Vec::new();
        for row in query.bind(millis(since)).fetch_all(self.readers()).await? {
            let kind: String = row.try_get("kind")?;
            if kinds.contains(&kind.as_str()) {
                let count: i64 = row.try_get("n")?;
                counts.push((from_word("jobs.state", row.try_get("state")?)?, count.unsigned_abs()));
            }
        }
        Ok(counts)
    }

    /// Why starts of schedules were not made since a time.
    pub async fn starts_not_made(&self, since: Timestamp) -> Result<Vec<String>, Error> {
        let query = sqlx::query(
            "SELECT problem FROM schedule_starts WHERE at_ms >= $1 AND problem IS NOT NULL ORDER BY at_ms LIMIT 100",
        );
        let rows = query.bind(millis(since)).fetch_all(self.readers()).await?;
        rows.iter().map(|row| Ok(from_json::<Problem>("schedule_starts.problem", row.try_get(0)?)?.message)).collect()
    }

    /// The tasks that have had a job.
    pub async fn tasks_that_ran(&self) -> Result<HashSet<TaskId>, Error> {
        let rows = sqlx::query("SELECT DISTINCT task_id FROM jobs WHERE task_id IS NOT NULL")
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| id("jobs.task_id", row.try_get(0)?)).collect()
    }
}
