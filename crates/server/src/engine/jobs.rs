//! Jobs: adding, finding, following, cancelling.

use std::collections::HashMap;

use futures::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, Instant};
use xenkeep_api::{Job, JobId, JobSpec, JobState, LogLine, Point, Problem, RunId};
use xenkeep_catalog::{JobFilter, NewJob, QueueEntry};

use super::Engine;
use super::queue::VmKey;
use crate::Error;

/// Jobs that one answer lists, unless asked otherwise, and at most.
pub(crate) const LISTED: u32 = 100;
pub(crate) const LISTED_AT_MOST: u32 = 1000;
/// A follower is told this often of a running job, whether something has changed or not.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// A follower is told no more often than this.
const TELL_AT_MOST: Duration = Duration::from_millis(100);
/// Looks again though nobody said that something has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// Jobs, the newest first.
    pub async fn jobs(&self, filter: &JobFilter, limit: Option<u32>) -> Result<Vec<Job>, Error> {
        let limit = limit.unwrap_or(LISTED).min(LISTED_AT_MOST);
        let mut jobs = self.0.catalog.jobs(filter, limit).await?;
        self.explain(&mut jobs).await?;
        Ok(jobs)
    }

    /// All jobs of one start, in order of arrival.
    pub async fn jobs_of_run(&self, run: RunId) -> Result<Vec<Job>, Error> {
        let mut jobs = self.0.catalog.jobs_of_run(run).await?;
        self.explain(&mut jobs).await?;
        Ok(jobs)
    }

    /// Tells of each queued job why it waits now.
    pub(super) async fn explain(&self, jobs: &mut [Job]) -> Result<(), Error> {
        let queued = |job: &Job| job.state == JobState::Queued;
        let count = jobs.iter().filter(|job| queued(job)).count();
        if count == 0 {
            return Ok(());
        }
        let standing = self.0.catalog.standing().await?;
        let choice = self.choice().await?;
        let placing = choice.under(self.turn());
        let entries: HashMap<JobId, QueueEntry> = match &*jobs {
            // Followers ask for one again and again.
            [job] => self.0.catalog.queue_entry(job.id).await?.into_iter().map(|entry| (entry.id, entry)).collect(),
            _ => self.0.catalog.queued(LISTED_AT_MOST).await?.into_iter().map(|entry| (entry.id, entry)).collect(),
        };
        for job in jobs.iter_mut().filter(|job| queued(job)) {
            job.waiting = entries.get(&job.id).map(|entry| placing.reason(&standing, entry));
        }
        Ok(())
    }

    /// A job as it is now.
    pub(super) async fn job_now(&self, job: JobId) -> Result<Job, Error> {
        let mut job = self.0.catalog.job(job).await?;
        self.explain(std::slice::from_mut(&mut job)).await?;
        Ok(job)
    }

    /// The job of an id or of its beginning.
    pub async fn job(&self, id_or_prefix: &str) -> Result<Job, Error> {
        let mut job = self.0.catalog.find_job(id_or_prefix).await?;
        self.explain(std::slice::from_mut(&mut job)).await?;
        Ok(job)
    }

    /// The log of a job.
    pub async fn job_log(&self, id_or_prefix: &str) -> Result<Vec<LogLine>, Error> {
        let job = self.job(id_or_prefix).await?;
        Ok(self.0.catalog.job_log(job.id).await?)
    }

    /// Asks for the end of a job. A queued one has ended when this returns.
    pub async fn cancel_job(&self, id_or_prefix: &str) -> Result<Job, Error> {
        let job = self.job(id_or_prefix).await?;
        self.0.catalog.cancel_job(job.id, self.0.clock.now()).await?;
        self.changed(job.id);
        Ok(self.0.catalog.job(job.id).await?)
    }

    /// Adds a job to the queue: the one way in.
    pub(super) async fn queue(&self, mut new: NewJob) -> Result<Job, Error> {
        if new.vm_key.is_none() {
            new.vm_key = VmKey::of(&new.spec, None).map(|key| key.text());
        }
        self.0.catalog.insert_job(&new, self.0.clock.now()).await?;
        self.changed(new.id);
        self.job_now(new.id).await
    }

    /// Adds a job to the queue that reads a point.
    pub(super) async fn queue_reader(&self, mut new: NewJob, point: &Point) -> Result<Job, Error> {
        new.vm_key = VmKey::of(&new.spec, Some(point)).map(|key| key.text());
        self.queue(new).await
    }

    /// Runs a job that somebody waits for, and gives its good end.
    pub(super) async fn run_short(&self, spec: JobSpec, subject: &str) -> Result<Job, Error> {
        let job = self.queue(NewJob::new(spec, subject)).await?.id;
        self.see_through(job).await
    }

    /// Waits for a short job, and gives its good end.
    pub(super) async fn see_through(&self, job: JobId) -> Result<Job, Error> {
        let Ok(ended) = tokio::time::timeout(self.0.limits.short_job_wait, self.wait_for_end(job)).await else {
            // It may have ended this very moment; then there is nothing to cancel.
            if let Err(error) = self.0.catalog.cancel_job(job, self.0.clock.now()).await {
                tracing::debug!(%job, error = &error as &dyn std::error::Error, "not cancelled");
            }
            self.changed(job);
            let problem = Problem::new("job.too_slow", format!("job {job} has not ended in time and was cancelled"));
            return Err(Error::Timeout(
                problem
                    .hint("see whether a mover is running and the pool answers, then try again")
                    .about(job.to_string()),
            ));
        };
        let job = ended?;
        if job.state.is_good() { Ok(job) } else { Err(Error::JobFailed(failure(&job))) }
    }

    /// Waits for the end of a job, however long it takes.
    pub(super) async fn wait_for_end(&self, job: JobId) -> Result<Job, Error> {
        let mut changes = self.0.changes.subscribe();
        loop {
            let now = self.0.catalog.job(job).await?;
            if now.state.is_final() {
                return Ok(now);
            }
            tokio::select! {
                changed = changed(&mut changes, job) => changed?,
                () = self.0.stopping.cancelled() => return Err(Error::ShuttingDown),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// A job as it is now, and again whenever it changes and twice a second while it runs; ends after its final state,
    /// or when the server goes down.
    pub async fn follow_job(
        &self,
        id_or_prefix: &str,
    ) -> Result<impl Stream<Item = Job> + Send + 'static + use<>, Error> {
        let changes = self.0.changes.subscribe();
        let first = self.job(id_or_prefix).await?;
        let follower = Follower { engine: self.clone(), id: first.id, changes, told: None, over: false };
        Ok(futures::stream::unfold(follower, |mut follower| async move {
            let job = follower.next().await?;
            Some((job, follower))
        }))
    }
}

struct Follower {
    engine: Engine,
    id: JobId,
    changes: tokio::sync::broadcast::Receiver<JobId>,
    told: Option<(Instant, Job)>,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Job> {
        if self.over {
            return None;
        }
        loop {
            if let Some((at, job)) = &self.told {
                let stopping = self.engine.0.stopping.clone();
                let every = if job.state == JobState::Running { TELL_EVERY } else { LOOK_EVERY };
                tokio::select! {
                    news = changed(&mut self.changes, self.id) => {
                        news.ok()?;
                        tokio::time::sleep_until(*at + TELL_AT_MOST).await;
                    }
                    () = tokio::time::sleep_until(*at + every) => {}
                    () = stopping.cancelled() => return None,
                }
            }
            let job = match self.engine.job_now(self.id).await {
                Ok(job) => job,
                Err(error) => {
                    tracing::warn!(job = %self.id, error = &error as &dyn std::error::Error, "cannot follow a job");
                    return None;
                }
            };
            let news = match &self.told {
                Some((_, told)) => *told != job || job.state == JobState::Running,
                None => true,
            };
            self.told = Some((Instant::now(), job.clone()));
            if news {
                self.over = job.state.is_final();
                return Some(job);
            }
        }
    }
}

/// Waits until `job` has, or may have, changed.
async fn changed(changes: &mut tokio::sync::broadcast::Receiver<JobId>, job: JobId) -> Result<(), Error> {
    loop {
        match changes.recv().await {
            Ok(changed) if changed == job => return Ok(()),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(Error::ShuttingDown),
        }
    }
}

/// Why a job did not end well.
pub(super) fn failure(job: &Job) -> Problem {
    let about = job.id.to_string();
    match (&job.problem, job.state) {
        (Some(problem), _) => problem.clone(),
        (None, JobState::Cancelled) => {
            Problem::new("job.cancelled", format!("job {} was cancelled", job.id)).about(about)
        }
        (None, JobState::Interrupted) => {
            Problem::new("job.interrupted", format!("job {} was interrupted: its mover went silent", job.id))
                .about(about)
        }
        (None, _) => Problem::new("job.failed", format!("job {} failed without saying why", job.id)).about(about),
    }
}
