//! The mover's view of an engine in the same process.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use xenkeep_api::{Directive, JobId, JobReport, JournalEntry, LeasedJob, LogLine, Places, Problem, Progress};
use xenkeep_mover::{ContentSink, LeaseError, Leases};
use xenkeep_server::{Engine, Error};

/// Leases straight from the engine: no wire between.
#[derive(Debug)]
pub(crate) struct EngineLeases {
    pub(crate) engine: Engine,
    /// Name of the mover.
    pub(crate) mover: String,
    /// Jobs that it takes at once.
    pub(crate) capacity: u32,
    /// From then on no job is taken.
    pub(crate) stop: CancellationToken,
}

#[async_trait]
impl Leases for EngineLeases {
    fn lasts(&self) -> Option<Duration> {
        Some(self.engine.lease_lasts())
    }

    async fn lease(&self) -> Result<Option<LeasedJob>, LeaseError> {
        tokio::select! {
            // A job that was on its way to us goes back to the queue.
            () = self.stop.cancelled() => Ok(None),
            leased = self.hear_and_lease() => leased.map_err(refusal),
        }
    }

    async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, LeaseError> {
        self.engine.renew(job, fence, progress, log).await.map_err(refusal)
    }

    async fn occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, LeaseError> {
        self.engine.occupy(job, fence, places).await.map_err(refusal)
    }

    async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), LeaseError> {
        self.engine.journal_write(job, fence, entry).await.map_err(refusal)
    }

    async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), LeaseError> {
        self.engine.journal_clear(job, fence, entry).await.map_err(refusal)
    }

    async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), LeaseError> {
        self.engine.finish(job, fence, report).await.map_err(refusal)
    }

    async fn content(&self, job: JobId, fence: i64) -> Result<ContentSink, LeaseError> {
        self.engine.content(job, fence).await.map(ContentSink::new).map_err(refusal)
    }
}

impl EngineLeases {
    async fn hear_and_lease(&self) -> Result<Option<LeasedJob>, Error> {
        self.engine.hear_mover(&self.mover, xenkeep_mover::hello(self.capacity), None).await?;
        self.engine.lease(&self.mover).await
    }
}

fn refusal(error: Error) -> LeaseError {
    match error {
        Error::LeaseLost(_) => LeaseError::Lost,
        Error::NoReader(_) => LeaseError::NoReader,
        Error::Refused(problem) => LeaseError::Refused(problem),
        error => LeaseError::Unavailable(Box::new(error)),
    }
}
