//! Leases over HTTPS: the server is another process, most likely on another machine.
//!
//! Whatever it answers is checked by its type alone and bounded in length; an answer that makes no sense counts as none.
//! Secrets of a job travel here, so plain HTTP is refused on anything but loopback.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use url::{Host, Url};
use uuid::Uuid;
use xenkeep_api::http::{ApiClient, Error};
use xenkeep_api::{
    Directive, JobId, JobReport, JournalEntry, LeasedJob, LogLine, MoverHello, MoverWelcome, Places, Problem, Progress,
};

use crate::{ContentSink, LeaseError, Leases, addresses};

/// Pieces of an export that may be on their way, each of at most 1 MiB.
const PIECES: usize = 4;
/// Bounds of what a server may say about times: neither a busy loop nor a mover that is deaf for hours.
const LEASE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3600));
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A mover's line to its server.
#[derive(Debug, Clone)]
pub struct RemoteLeases {
    api: ApiClient,
    capacity: u32,
    name: String,
    lease: Duration,
    wait: Duration,
}

impl RemoteLeases {
    /// Says hello to the server behind `api`, whose token is that of a mover, and hears how long a lease lasts. The mover
    /// takes `capacity` jobs at once.
    pub async fn connect(api: ApiClient, capacity: u32) -> Result<Self, LeaseError> {
        if !is_confidential(api.url()) {
            let problem = Problem::new(
                "mover.plain_http",
                format!("{} would carry passwords in clear text over the network", api.url()),
            );
            return Err(LeaseError::Refused(problem.hint("give the server's https:// address")));
        }
        let welcome = api.mover_hello(&hello(capacity)).await.map_err(refusal)?;
        let MoverWelcome { name, version, lease_ms, wait_ms } = welcome;
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let version: String = version.chars().filter(|c| !c.is_control()).take(32).collect();
        tracing::info!(server = api.url(), %version, %name, "the server knows this mover");
        let lease = Duration::from_millis(lease_ms).clamp(LEASE.0, LEASE.1);
        let wait = Duration::from_millis(wait_ms).min(LONGEST_WAIT);
        Ok(Self { api, capacity, name, lease, wait })
    }

    /// The name under which the server knows this mover.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a mover on this machine says of itself. It takes `capacity` jobs at once.
#[must_use]
pub fn hello(capacity: u32) -> MoverHello {
    MoverHello { version: env!("CARGO_PKG_VERSION").to_owned(), addresses: addresses::own(), capacity }
}

/// Over TLS, or not over a network at all. Asked of the parsed address: `http://127.0.0.1:80@evil.example` names another host.
fn is_confidential(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(Host::Ipv6(ip))) => ip.is_loopback(),
        _ => false,
    }
}

#[async_trait]
impl Leases for RemoteLeases {
    fn lasts(&self) -> Option<Duration> {
        Some(self.lease)
    }

    async fn lease(&self) -> Result<Option<LeasedJob>, LeaseError> {
        self.api.mover_lease(&hello(self.capacity), self.wait).await.map_err(refusal)
    }

    async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, LeaseError> {
        self.api.mover_renew(job, fence, progress, log).await.map_err(refusal)
    }

    async fn occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, LeaseError> {
        self.api.mover_occupy(job, fence, places).await.map_err(refusal)
    }

    async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), LeaseError> {
        self.api.mover_journal_write(job, fence, entry).await.map_err(refusal)
    }

    async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), LeaseError> {
        self.api.mover_journal_clear(job, fence, entry).await.map_err(refusal)
    }

    async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), LeaseError> {
        self.api.mover_finish(job, fence, report).await.map_err(refusal)
    }

    async fn content(&self, job: JobId, fence: i64) -> Result<ContentSink, LeaseError> {
        self.api.mover_await_reader(job, fence).await.map_err(refusal)?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let api = self.api.clone();
        // Ends with the sink: the sender is dropped, or the server hangs up.
        tokio::spawn(async move {
            if let Err(error) = api.mover_content(job, fence, upload(pieces)).await {
                tracing::warn!(%job, error = &error as &dyn std::error::Error, "the stream of an export broke off");
            }
        });
        Ok(ContentSink::new(sender))
    }
}

/// What is uploaded: the pieces; a failure breaks the connection off, so that it does not look like the end.
fn upload(
    pieces: mpsc::Receiver<Result<Bytes, Problem>>,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map_err(|problem| std::io::Error::other(problem.message)), pieces))
    })
}

/// What a failed call means for the mover.
fn refusal(error: Error) -> LeaseError {
    let said = |status: u16, code: &str| match &error {
        Error::Problem { status: found, problem } => *found == status && problem.code == code,
        _ => false,
    };
    if said(409, "job.lease_lost") {
        return LeaseError::Lost;
    }
    if said(504, "export.no_reader") {
        return LeaseError::NoReader;
    }
    match error {
        // The token is worth nothing any more, or the server won't have us: nobody but a person can change that.
        Error::Problem { status: 401 | 403, problem } => LeaseError::Refused(problem),
        error => LeaseError::Unavailable(Box::new(error)),
    }
}

#[cfg(test)]
mod tests;
