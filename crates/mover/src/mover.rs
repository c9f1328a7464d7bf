//! The loop: takes jobs, runs each in a task of its own, drains when it is told to stop.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use xenkeep_api::LeasedJob;

use crate::{LeaseError, Leases, datastore::Repos, fence::Moment, run};

/// How long a poll for a job may go on after the mover was told to stop. A job that is handed out in that time is
/// reported as cancelled instead of being lost.
const LAST_POLL: Duration = Duration::from_secs(2);

/// Longest pause between two polls of a server that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How a mover works.
#[derive(Debug, Clone)]
pub struct MoverConfig {
    /// Jobs at once.
    pub parallel_jobs: NonZeroUsize,
    /// How often a running job's lease is renewed, with progress and log.
    pub renew_every: Duration,
    /// Where it keeps what it knows of repositories, so that it need not be read again; without it, nothing is kept.
    pub cache_dir: Option<PathBuf>,
    /// Where the commands lie that may run before and after backups; without it, none may.
    pub hooks_dir: Option<PathBuf>,
    /// How long a started VM may take to report from inside.
    pub guest_wait: Duration,
}

impl Default for MoverConfig {
    fn default() -> Self {
        Self {
            parallel_jobs: NonZeroUsize::new(12).expect("12 is not zero"),
            renew_every: Duration::from_secs(1),
            cache_dir: None,
            hooks_dir: None,
            guest_wait: Duration::from_secs(120),
        }
    }
}

/// Takes jobs and runs them.
pub struct Mover {
    leases: Arc<dyn Leases>,
    config: Arc<MoverConfig>,
    repos: Arc<Repos>,
}

impl Mover {
    /// A mover that takes its jobs from `leases`.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, config: MoverConfig) -> Self {
        Self { leases, config: Arc::new(config), repos: Arc::default() }
    }

    /// Takes jobs and runs them until `shutdown` is cancelled; then cancels those that run, and returns when all have
    /// cleaned up and reported. Dropping it instead leaves everything as it lies, like a power cut.
    pub async fn run(&self, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.config.parallel_jobs.get()));
        let mut jobs = JoinSet::new();
        let mut pause = Duration::from_millis(500);
        while !shutdown.is_cancelled() {
            while jobs.try_join_next().is_some() {}
            let slot = tokio::select! {
                () = shutdown.cancelled() => break,
                slot = Arc::clone(&slots).acquire_owned() => slot.expect("nobody closes the slots"),
            };
            let asked = Moment::now();
            match self.poll(&shutdown).await {
                Ok(Some(job)) => {
                    pause = Duration::from_millis(500);
                    let (leases, config, repos, shutdown) =
                        (Arc::clone(&self.leases), Arc::clone(&self.config), Arc::clone(&self.repos), shutdown.clone());
                    jobs.spawn(async move {
                        run::run(leases, config, repos, shutdown, job, asked).await;
                        drop(slot);
                    });
                }
                Ok(None) => pause = Duration::from_millis(500),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no job can be had at present");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        while jobs.join_next().await.is_some() {}
    }

    async fn poll(&self, shutdown: &CancellationToken) -> Result<Option<LeasedJob>, LeaseError> {
        let lease = self.leases.lease();
        tokio::pin!(lease);
        tokio::select! {
            answer = &mut lease => answer,
            () = shutdown.cancelled() => tokio::time::timeout(LAST_POLL, lease).await.unwrap_or(Ok(None)),
        }
    }
}
