//! What movers call: lease a job, keep it, write its journal, finish it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use xenkeep_api::{
    Directive, JobId, JobReport, JobSpec, JobState, JournalEntry, LeasedJob, LogLine, Places, Problem, Progress,
};
use xenkeep_catalog::{Claimed, Error as CatalogError};

use super::Engine;
use super::recovery::what_follows;
use crate::Error;

impl Engine {
    /// Waits some seconds for a job and lends it to a mover; none if there is none. May be dropped while it waits.
    pub async fn lease(&self, mover: &str) -> Result<Option<LeasedJob>, Error> {
        let _waiting = self.mover_waits(mover);
        let deadline = tokio::time::Instant::now() + self.0.limits.longest_wait();
        loop {
            if self.0.stopping.is_cancelled() {
                return Err(Error::ShuttingDown);
            }
            // Listening begins before looking: what is queued in between rings.
            let work = self.0.work.notified();
            tokio::pin!(work);
            work.as_mut().enable();
            if let Some(job) = self.lease_now(mover).await? {
                return Ok(Some(job));
            }
            let look_again = (tokio::time::Instant::now() + LOOK_EVERY).min(deadline);
            tokio::select! {
                () = work => {}
                () = tokio::time::sleep_until(look_again), if look_again < deadline => {}
                () = self.0.stopping.cancelled() => return Err(Error::ShuttingDown),
                () = tokio::time::sleep_until(deadline) => return Ok(None),
            }
        }
    }

    /// Keeps a lease alive, takes numbers and log lines, says what is wanted.
    pub async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, Error> {
        match self.0.catalog.renew(job, fence, self.lease_end(), progress, &log).await {
            Ok(cancel_requested) => {
                // Only followers care, nobody waits for work because of it.
                let _ = self.0.changes.send(job);
                Ok(if cancel_requested { Directive::Cancel } else { Directive::Continue })
            }
            Err(CatalogError::LeaseLost(_)) => Ok(Directive::Abandon),
            Err(error) => Err(error.into()),
        }
    }

    /// Says where a running job is about to work: none if it may, else what it must wait for first. It asks again.
    pub async fn occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, Error> {
        let turn = self.turn();
        let decide = |standing: &_, me: &_| turn.place_busy(standing, me, places);
        let wait = self.0.catalog.occupy(job, fence, places, decide).await?;
        let _ = self.0.changes.send(job);
        Ok(wait)
    }

    /// Keeps an entry of the journal, over an older one of the same id; durable when this returns. A recover job writes
    /// into the journal of the job that it recovers.
    pub async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), Error> {
        Ok(self.0.catalog.journal_write(job, fence, entry, self.0.clock.now()).await?)
    }

    /// Forgets an entry of the journal; one that is not there is no error.
    pub async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), Error> {
        Ok(self.0.catalog.journal_clear(job, fence, entry).await?)
    }

    /// Ends a job, with all that follows from its result. Saying it twice is no error. What is still in the journal is
    /// left to a recover job.
    pub async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), Error> {
        let (now, limits) = (self.0.clock.now(), &self.0.limits);
        self.0
            .catalog
            .finish(job, fence, report, now, &|ended| what_follows(ended, now, limits, &self.0.time_zone))
            .await?;
        tracing::info!(%job, state = ?report.state, "job ended");
        self.changed(job);
        Ok(())
    }

    /// How long a lease lasts.
    #[must_use]
    pub fn lease_lasts(&self) -> std::time::Duration {
        self.0.limits.lease
    }

    fn lease_end(&self) -> jiff::Timestamp {
        let now = self.0.clock.now();
        now.saturating_add(self.0.limits.lease).unwrap_or(now)
    }

    /// Lends a job if one may run now. If the caller is gone when it could be handed over, it goes back to the queue.
    async fn lease_now(&self, mover: &str) -> Result<Option<LeasedJob>, Error> {
        let (hand_over, mut taken) = oneshot::channel();
        let request = ClaimRequest { mover: mover.to_owned(), hand_over };
        self.0.claims.send(request).await.map_err(|_| Error::ShuttingDown)?;
        let guard = GiveBack { engine: self, taken: &mut taken };
        (&mut *guard.taken).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Claims jobs for whoever asks, in as few transactions as may be: those who came while one was under way share the
    /// next. Ends when the engine stops.
    pub(super) async fn serve_claims(self, mut requests: mpsc::Receiver<ClaimRequest>) {
        let mut batch = Vec::with_capacity(CLAIMED_AT_ONCE);
        loop {
            tokio::select! {
                () = self.0.stopping.cancelled() => return,
                count = requests.recv_many(&mut batch, CLAIMED_AT_ONCE) => if count == 0 { return },
            }
            let claimed = self.claim(&batch).await;
            let (engine, asked) = (self.clone(), std::mem::take(&mut batch));
            // What they need is read beside the next claims.
            self.0.tasks.spawn(async move { engine.hand_over(asked, claimed).await });
        }
    }

    async fn claim(&self, asked: &[ClaimRequest]) -> Result<Vec<Option<Claimed>>, Error> {
        let now = self.0.clock.now();
        let movers: Vec<&str> = asked.iter().map(|request| request.mover.as_str()).collect();
        let choice = self.choice().await?;
        let claimed = self.0.catalog.claim(&movers, now, self.lease_end(), &choice.under(self.turn())).await?;
        // A client or datastore that has only just been added may be for certain movers: it is looked at again.
        if claimed.iter().all(Option::is_none)
            && let Some(choice) = self.fresher(&choice).await?
        {
            return Ok(self.0.catalog.claim(&movers, now, self.lease_end(), &choice.under(self.turn())).await?);
        }
        Ok(claimed)
    }

    async fn hand_over(&self, asked: Vec<ClaimRequest>, claimed: Result<Vec<Option<Claimed>>, Error>) {
        let mut claimed = match claimed {
            Ok(claimed) => claimed.into_iter(),
            Err(error) => {
                // Each hears that it went wrong; one of them hears why.
                tracing::warn!(error = &error as &dyn std::error::Error, "no job can be claimed");
                let mut error = Some(error);
                for request in asked {
                    let _ = request.hand_over.send(Err(error.take().unwrap_or(Error::ShuttingDown)));
                }
                return;
            }
        };
        for request in asked {
            let leased = match claimed.next().flatten() {
                Some(claimed) => self.lend(claimed).await,
                None => Ok(None),
            };
            if let Err(Ok(Some(job))) = request.hand_over.send(leased) {
                self.give_back(job.id, job.fence).await;
            }
        }
    }

    /// A claimed job with all that it needs; none if it had to end at once.
    async fn lend(&self, claimed: Claimed) -> Result<Option<LeasedJob>, Error> {
        let (job, fence) = (claimed.id, claimed.fence);
        match self.equip(claimed).await {
            Ok(leased) => {
                let _ = self.0.changes.send(job);
                Ok(Some(leased))
            }
            // Its client is gone, or its secrets can't be opened: no mover could do it.
            Err(error) => {
                self.finish(job, fence, &failed(error.problem())).await?;
                Ok(None)
            }
        }
    }

    /// Gives a claimed job what it needs, and no more.
    async fn equip(&self, claimed: Claimed) -> Result<LeasedJob, Error> {
        let catalog = &self.0.catalog;
        let client = match claimed.spec.client() {
            Some(client) => Some(catalog.client_access(client).await?),
            None => None,
        };
        let datastore = match claimed.spec.datastore() {
            Some(datastore) => Some(catalog.datastore_access(datastore).await?),
            None => None,
        };
        let target = match claimed.spec.target() {
            Some(target) => Some(catalog.datastore_access(target).await?),
            None => None,
        };
        let point = match claimed.spec.point() {
            Some(point) => Some(catalog.find_point(point).await?),
            None => None,
        };
        let secret = catalog.job_secret(claimed.id).await?;
        let known_points = match claimed.spec {
            JobSpec::RescanDatastore { datastore } => self.known_points(datastore).await?,
            _ => Vec::new(),
        };
        let unfinished = match claimed.spec {
            JobSpec::CheckClient { client } => catalog.unfinished_jobs(client).await?,
            _ => Vec::new(),
        };
        let task = match claimed.spec {
            JobSpec::Backup { .. } => catalog.job(claimed.id).await?.origin.task_name,
            _ => None,
        };
        let journal = if claimed.root == claimed.id { Vec::new() } else { catalog.journal(claimed.root).await? };
        let Claimed { id, fence, spec, .. } = claimed;
        Ok(LeasedJob {
            id,
            fence,
            spec,
            task,
            client,
            datastore,
            target,
            point,
            secret,
            known_points,
            unfinished,
            journal,
        })
    }

    async fn give_back(&self, job: JobId, fence: i64) {
        match self.0.catalog.release(job, fence).await {
            Ok(()) => self.changed(job),
            // Its lease will run out, and it will be recovered.
            Err(error) => tracing::warn!(%job, error = &error as &dyn std::error::Error, "cannot give a job back"),
        }
    }
}

/// Somebody who asks for a job.
#[derive(Debug)]
pub(super) struct ClaimRequest {
    mover: String,
    hand_over: oneshot::Sender<Result<Option<LeasedJob>, Error>>,
}

/// How many may share one transaction.
pub(super) const CLAIMED_AT_ONCE: usize = 64;
/// How often is looked for work that another server has put into the queue, or whose time has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Gives a job back that was handed over to a caller who went away before looking.
struct GiveBack<'a> {
    engine: &'a Engine,
    taken: &'a mut oneshot::Receiver<Result<Option<LeasedJob>, Error>>,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        self.taken.close();
        if let Ok(Ok(Some(job))) = self.taken.try_recv() {
            let engine = self.engine.clone();
            self.engine.0.tasks.spawn(async move { engine.give_back(job.id, job.fence).await });
        }
    }
}

fn failed(problem: Problem) -> JobReport {
    JobReport {
        state: JobState::Failed,
        problem: Some(problem),
        warnings: Vec::new(),
        result: None,
        progress: Progress::default(),
        pool: None,
    }
}
