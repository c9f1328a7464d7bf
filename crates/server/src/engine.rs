//! The engine: what waits, what runs, for whom, and what must be done after a failure. It knows no HTTP.
//!
//! Two sides call it. Movers lease jobs, renew them, keep their journal and finish them (`leases`). Whoever answers
//! people adds clients and datastores, asks for backups and follows jobs (the other files, one a noun).
//!
//! | who | may touch a job when |
//! |---|---|
//! | its mover | it names the fence of its lease, and the job runs |
//! | the sweep | the job runs and its lease has run out: interrupted, the fence rises, a `recover` job is queued |
//! | a start of the server | the job was left running: likewise |
//! | people | they ask for its end: at once while it is queued, else its mover is told by the next renewal |
//!
//! Each of these is one transaction of the catalogue, so they need no lock among each other. What is only in memory
//! (who waits for news, the two ends of an export's stream) may be lost with the process.

mod calendar;
mod choice;
mod clients;
mod clock;
mod content;
mod datastores;
mod drives;
mod forget;
mod groups;
mod hosts;
mod jobs;
mod leases;
mod metadata;
mod movers;
mod names;
mod points;
mod queue;
mod recovery;
mod reports;
mod requests;
mod retention;
mod retries;
mod roster;
mod schedules;
mod starts;
mod stores;
mod tasks;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use xenkeep_api::JobId;
use xenkeep_catalog::Catalog;

pub use self::clock::{Clock, SystemClock};
use self::content::Contents;
pub use self::content::{ContentReader, ContentSender};
use self::movers::Movers;
pub use self::starts::Prepared;
use crate::{Error, Limits};

/// How many changes a slow follower of jobs may lag behind before it has to look again.
const CHANGES: usize = 256;

/// The engine of a server. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// Where days begin and end, unless somebody says otherwise.
    time_zone: TimeZone,
    /// Rung when a job may have become ready to run.
    work: Notify,
    /// Rung when a report may be due.
    post: Notify,
    /// Held by whoever delivers reports: one after the other.
    delivering: tokio::sync::Mutex<()>,
    /// Which job has changed.
    changes: broadcast::Sender<JobId>,
    contents: Contents,
    movers: Movers,
    /// Name of the mover in this process, and whether there is one.
    mover: String,
    has_local_mover: bool,
    /// Where movers ask for jobs.
    claims: mpsc::Sender<leases::ClaimRequest>,
    /// Everything that runs on behalf of the engine; [`Engine::stop`] waits for it.
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Engine {
    /// Takes the catalogue over from a server that may have died: what it left running is interrupted and recovered.
    pub(crate) async fn start(
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        limits: Limits,
        time_zone: TimeZone,
        mover: &str,
        has_local_mover: bool,
    ) -> Result<Self, Error> {
        let (claims, requests) = mpsc::channel(leases::CLAIMED_AT_ONCE);
        let engine = Self(Arc::new(Inner {
            catalog,
            clock,
            limits,
            time_zone,
            work: Notify::new(),
            post: Notify::new(),
            delivering: tokio::sync::Mutex::default(),
            changes: broadcast::channel(CHANGES).0,
            contents: Contents::default(),
            movers: Movers::default(),
            mover: mover.to_owned(),
            has_local_mover,
            claims,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }));
        engine.recover_at_start(mover).await?;
        engine.0.tasks.spawn(engine.clone().serve_claims(requests));
        let sweeper = engine.clone();
        engine.0.tasks.spawn(async move { sweeper.sweep().await });
        let timekeeper = engine.clone();
        engine.0.tasks.spawn(async move { timekeeper.keep_time().await });
        let postman = engine.clone();
        engine.0.tasks.spawn(async move { postman.carry_post().await });
        Ok(engine)
    }

    /// Ends what waits (leases, followers, streams), waits for what is under way, closes the catalogue.
    pub(crate) async fn stop(&self) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.catalog.close().await;
    }

    /// Cancelled when the engine stops.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// A job has changed: whoever follows it looks again, and whoever waits for work, too.
    fn changed(&self, job: JobId) {
        // Nobody may be listening.
        let _ = self.0.changes.send(job);
        self.0.work.notify_waiters();
    }

    /// Finishes `work` even if whoever asked for it goes away: half an added client is none.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match self.0.tasks.spawn(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::ShuttingDown),
        }
    }

    /// Interrupts jobs whose movers went silent, again and again, and forgets short jobs of old.
    async fn sweep(&self) {
        const FORGET_EVERY: u32 = 3600;
        let every = (self.0.limits.lease / 10).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let mut ticks: u32 = 0;
        loop {
            let asleep = tokio::time::Instant::now();
            tokio::select! {
                () = self.0.stopping.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            // If we ourselves were held up (a suspended machine, a stalled disk), movers could not renew either.
            if asleep.elapsed() > every + self.0.limits.lease / 2 {
                continue;
            }
            if let Err(error) = self.interrupt_silent().await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot look for silent movers");
            }
            if let Err(error) = self.stop_overdue().await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot look for jobs that take too long");
            }
            if ticks.is_multiple_of(FORGET_EVERY)
                && let Err(error) = self.forget_short_jobs().await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot forget old jobs");
            }
            if ticks.is_multiple_of(FORGET_EVERY)
                && let Err(error) = self.forget_reports().await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot forget old reports");
            }
            ticks = ticks.wrapping_add(1);
        }
    }

    /// Starts what schedules say, and writes the reports of what has happened.
    async fn keep_time(&self) {
        loop {
            tokio::select! {
                () = self.0.stopping.cancelled() => return,
                () = tokio::time::sleep(self.0.limits.tick) => {}
            }
            let failed =
                |what: &str, error: Error| tracing::error!(error = &error as &dyn std::error::Error, "cannot {what}");
            if let Err(error) = self.start_due().await {
                failed("look at the schedules", error);
            }
            if let Err(error) = self.summary_due().await {
                failed("write the daily summary", error);
            }
            if let Err(error) = self.report_endings().await {
                failed("write the reports of ended jobs", error);
            }
        }
    }

    /// Delivers reports, whether they have just been written or are to be tried again.
    async fn carry_post(&self) {
        loop {
            tokio::select! {
                () = self.0.stopping.cancelled() => return,
                () = self.0.post.notified() => {}
                () = tokio::time::sleep(self.0.limits.tick) => {}
            }
            if let Err(error) = self.deliver_due().await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot deliver reports");
            }
        }
    }
}
