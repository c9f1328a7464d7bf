//! The mover's view of an engine in the same process.

use async_trait::async_trait;
use uuid::Uuid;
use xenkeep_api::{Directive, JobId, JobReport, JournalEntry, LeasedJob, LogLine, Progress};
use xenkeep_mover::{ContentSink, LeaseError, Leases};
use xenkeep_server::{Engine, Error};

/// Leases straight from the engine: no wire between.
#[derive(Debug)]
pub(crate) struct EngineLeases(pub(crate) Engine);

#[async_trait]
impl Leases for EngineLeases {
    async fn lease(&self) -> Result<Option<LeasedJob>, LeaseError> {
        self.0.lease().await.map_err(refusal)
    }

    async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, LeaseError> {
        self.0.renew(job, fence, progress, log).await.map_err(refusal)
    }

    async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), LeaseError> {
        self.0.journal_write(job, fence, entry).await.map_err(refusal)
    }

    async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), LeaseError> {
        self.0.journal_clear(job, fence, entry).await.map_err(refusal)
    }

    async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), LeaseError> {
        self.0.finish(job, fence, report).await.map_err(refusal)
    }

    async fn content(&self, job: JobId, fence: i64) -> Result<ContentSink, LeaseError> {
        self.0.content(job, fence).await.map(ContentSink::new).map_err(refusal)
    }
}

fn refusal(error: Error) -> LeaseError {
    match error {
        Error::LeaseLost(_) => LeaseError::Lost,
        Error::NoReader(_) => LeaseError::NoReader,
        error => LeaseError::Unavailable(Box::new(error)),
    }
}
