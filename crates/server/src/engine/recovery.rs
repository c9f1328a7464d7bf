//! After a failure: jobs whose mover is gone are interrupted, and what a job left outside is undone by another.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use xenkeep_api::{JobKind, JobSpec, JobState};
use xenkeep_catalog::{Ended, NewJob};

use super::Engine;
use super::retries::{another_try, next_try};
use super::starts::next_of_task;
use crate::{Error, Limits};

/// Recoveries of one job in a row; then the administrator must look (or the next start of the server tries again).
const MAX_ATTEMPTS: u32 = 12;
/// Recoveries that were interrupted themselves start again at once, this often.
const AT_ONCE: u32 = 2;
/// How often a job is queued again that only has to go on.
const MAX_RESUMED: u32 = 3;
/// Longest wait before the next recovery.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How long jobs that only looked are kept.
const SHORT_JOBS_KEPT: SignedDuration = SignedDuration::from_hours(24);

impl Engine {
    /// Interrupts what a dead server left running, and sees that everything left open is recovered.
    pub(super) async fn recover_at_start(&self, mover: &str) -> Result<(), Error> {
        let (now, catalog, limits) = (self.0.clock.now(), &self.0.catalog, &self.0.limits);
        catalog.discard_unready(now).await?;
        for job in
            catalog.interrupt_of(mover, now, &|ended| what_follows(ended, now, limits, &self.0.time_zone)).await?
        {
            tracing::warn!(%job, "interrupted: it was running when the server ended");
        }
        // Movers elsewhere go on with their jobs, and could not say so while no server was there.
        catalog.renew_leases_but(mover, later(now, limits.lease)).await?;
        for root in catalog.unrecovered_jobs().await? {
            let ended = catalog.ended(root).await?;
            catalog.insert_job(&recovery(&ended, 0, None), now).await?;
        }
        Ok(())
    }

    /// Interrupts the jobs whose movers have been silent for too long.
    pub(super) async fn interrupt_silent(&self) -> Result<(), Error> {
        let (now, limits) = (self.0.clock.now(), &self.0.limits);
        let silent =
            self.0.catalog.interrupt_expired(now, &|ended| what_follows(ended, now, limits, &self.0.time_zone)).await?;
        for job in silent {
            tracing::warn!(%job, "interrupted: its mover has been silent for too long");
            self.changed(job);
        }
        Ok(())
    }

    /// Asks for the end of the jobs that have taken longer than they may.
    pub(super) async fn stop_overdue(&self) -> Result<(), Error> {
        for job in self.0.catalog.stop_overdue(self.0.clock.now()).await? {
            tracing::warn!(%job, "has run for longer than its time limit: it is being stopped");
            let _ = self.0.changes.send(job);
        }
        Ok(())
    }

    /// Forgets short jobs of old: they hold long answers, and say nothing that is true today.
    pub(super) async fn forget_short_jobs(&self) -> Result<(), Error> {
        let before = self.0.clock.now() - SHORT_JOBS_KEPT;
        for kind in [JobKind::BrowseClient, JobKind::CheckClient, JobKind::PlanRestore, JobKind::ProtectPoint] {
            self.0.catalog.forget_jobs(kind, before).await?;
        }
        Ok(())
    }
}

/// The jobs that follow an ended one: its recovery, another try of it, what its task does next.
pub(super) fn what_follows(ended: &Ended, now: Timestamp, limits: &Limits, zone: &TimeZone) -> Vec<NewJob> {
    let after_failure = next_recovery(ended, now, limits).into_iter().chain(next_try(ended, now));
    after_failure.chain(next_of_task(ended, zone, now)).collect()
}

/// The recovery that an ended job needs, if it needs one.
pub(super) fn next_recovery(ended: &Ended, now: Timestamp, limits: &Limits) -> Option<NewJob> {
    let state = ended.job.state;
    if goes_on(ended.job.spec.kind()) {
        let again = state == JobState::Interrupted && ended.attempt < MAX_RESUMED;
        return again.then(|| NewJob { vm_key: None, ..another_try(ended) });
    }
    if ended.job.spec.kind() != JobKind::Recover {
        // An interrupted backup may have written a restore point without a word; a restore is asked to look, too.
        let interrupted =
            state == JobState::Interrupted && matches!(ended.job.spec.kind(), JobKind::Backup | JobKind::Restore);
        // Whoever ended by itself and left something could not remove it a moment ago: it helps to wait.
        let start = (state != JobState::Interrupted).then(|| later(now, limits.recover_again));
        return (interrupted || ended.open_journal).then(|| recovery(ended, 0, start));
    }
    let again = match state {
        JobState::Interrupted | JobState::Failed => true,
        // The administrator's word is the last, until the server starts again.
        JobState::Cancelled => false,
        _ => ended.open_journal,
    };
    let attempt = ended.attempt.saturating_add(1);
    if !again || attempt >= MAX_ATTEMPTS {
        return None;
    }
    let start = (state != JobState::Interrupted || attempt > AT_ONCE).then(|| later(now, wait(attempt, limits)));
    Some(recovery(ended, attempt, start))
}

/// Half of it done is known to nobody but the datastore, and doing it again does the rest: it is simply queued again. A
/// prune and a verification need not be: what they have done is in order, and the next one goes on.
pub(super) fn goes_on(kind: JobKind) -> bool {
    matches!(kind, JobKind::ForgetPoints | JobKind::ProtectPoint | JobKind::CopyPoints | JobKind::ExpandSelection)
}

/// Doubles with each attempt.
fn wait(attempt: u32, limits: &Limits) -> Duration {
    let doubled = 2u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    limits.recover_again.saturating_mul(doubled).min(LONGEST_WAIT)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A job that cleans up after an ended one, or after the one that an ended recovery was for.
fn recovery(ended: &Ended, attempt: u32, not_before: Option<Timestamp>) -> NewJob {
    let job = &ended.job;
    let interrupted = match &job.spec {
        JobSpec::Recover { interrupted, .. } => *interrupted,
        _ => job.id,
    };
    let spec = JobSpec::Recover { interrupted, client: job.spec.client(), datastore: job.spec.datastore() };
    let vm_key = ended.vm_key.clone();
    NewJob { vm_key, not_before, attempt, origin: job.origin.clone(), ..NewJob::new(spec, job.subject.clone()) }
}

#[cfg(test)]
pub(super) mod tests;
