//! Another try of a job that failed or was interrupted.

use std::time::Duration;

use jiff::Timestamp;
use xenkeep_api::{JobId, JobKind, JobState};
use xenkeep_catalog::{Ended, NewJob};

use super::recovery::goes_on;

/// The next try of an ended job, if its policy wants one. A person's cancel is the last word.
pub(super) fn next_try(ended: &Ended, now: Timestamp) -> Option<NewJob> {
    let job = &ended.job;
    let kind = job.spec.kind();
    if kind == JobKind::Recover || goes_on(kind) || job.cancel_requested {
        return None;
    }
    let retries = match job.state {
        JobState::Failed => ended.retry.retries,
        // Nothing speaks against the backup itself, and whoever made the task counts on it.
        JobState::Interrupted if kind == JobKind::Backup && job.origin.task.is_some() => ended.retry.retries.max(1),
        JobState::Interrupted => ended.retry.retries,
        _ => 0,
    };
    let wait = Duration::from_secs(u64::from(ended.retry.wait_seconds));
    let start = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    (ended.attempt < retries).then(|| NewJob { not_before: Some(start), ..another_try(ended) })
}

/// The same job once more, at once.
pub(super) fn another_try(ended: &Ended) -> NewJob {
    let job = &ended.job;
    NewJob {
        id: JobId::random(),
        spec: job.spec.clone(),
        subject: job.subject.clone(),
        vm_key: ended.vm_key.clone(),
        not_before: None,
        attempt: ended.attempt.saturating_add(1),
        retry_of: Some(job.id),
        drive: job.drive,
        priority: job.priority,
        origin: job.origin.clone(),
        retry: ended.retry,
        time_limit: job.time_limit_seconds.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests;
