//! Where jobs come from and where their progress goes.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;
use xenkeep_api::{Directive, JobId, JobReport, JournalEntry, LeasedJob, LogLine, Places, Problem, Progress};

use crate::ContentSink;

/// Whoever hands out jobs: the server's engine in the same process, or its HTTPS form.
///
/// Every call about a job carries the fencing number of its lease; a call with an older one is refused with
/// [`LeaseError::Lost`], and the mover then stops without touching anything more.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// How long a lease lasts after it was asked for, or renewed. A mover that gets no answer stops by itself before;
    /// `None` where nobody else could get the job.
    fn lasts(&self) -> Option<Duration> {
        None
    }

    /// Waits some seconds for a job and takes it; `None` when there was none. May be dropped while it waits.
    async fn lease(&self) -> Result<Option<LeasedJob>, LeaseError>;

    /// Keeps the lease alive, hands over the newest numbers and the log lines since the last time, and hears what is
    /// wanted. Called about once a second; lines are handed over again when this fails.
    async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, LeaseError>;

    /// Says where the job is about to work; hears what it must wait for first, and then asks again.
    async fn occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, LeaseError>;

    /// Keeps `entry`, over an older one of the same id; durable when this returns.
    ///
    /// A `recover` job overwrites and clears entries of the job that it recovers, under its own id and fence.
    async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), LeaseError>;

    /// Forgets an entry; one that is not there is no error.
    async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), LeaseError>;

    /// Ends the job. Entries that are still in its journal are things which could not be undone: they need a `recover`.
    async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), LeaseError>;

    /// Where the stream of an `export` goes; waits, not for ever, until someone reads it.
    async fn content(&self, job: JobId, fence: i64) -> Result<ContentSink, LeaseError>;
}

/// Why a call of [`Leases`] failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The job is not ours any more: its lease ran out, or it was given to another.
    #[error("the lease of the job is lost")]
    Lost,
    /// Nobody came to read the stream of an export.
    #[error("nobody came to read the stream")]
    NoReader,
    /// The server will have nothing to do with this mover, and says why.
    #[error("{}", .0.message)]
    Refused(Problem),
    /// The server could not be reached or could not answer; it is worth trying again.
    #[error("the server did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl LeaseError {
    /// Trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
