//! Reports of jobs that have ended.

use jiff::Timestamp;
use xenkeep_api::{Job, JobId, JobKind, JobState, Report, ReportKind, ReportedJob};

use super::super::Engine;
use super::blank;
use crate::Error;

/// Jobs that one report lists.
const LISTED: usize = 500;
/// Ended jobs that are looked at in one go.
const AT_ONCE: u32 = 200;

impl Engine {
    /// Writes the reports of what has ended and was not looked at. What was not written because the server died, or because
    /// its catalogue did not answer, is found again.
    pub async fn report_endings(&self) -> Result<(), Error> {
        let now = self.0.clock.now();
        for run in self.0.catalog.unreported_runs().await? {
            let jobs = self.0.catalog.jobs_of_run(run).await?;
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
            let reports = match of_jobs(ReportKind::Run, &jobs, now) {
                Some(report) => self.addressed(&format!("run:{run}"), &Report { run: Some(run), ..report }).await?,
                None => Vec::new(),
            };
            self.0.catalog.report_jobs(&ids, &reports, now).await?;
            self.0.post.notify_one();
        }
        for job in self.0.catalog.unreported_jobs(AT_ONCE).await? {
            let tried_again = !job.state.is_good() && self.0.catalog.is_tried_again(job.id).await?;
            let report = of_jobs(ReportKind::Job, std::slice::from_ref(&job), now).filter(|_| !tried_again);
            let reports = match report {
                Some(report) => self.addressed(&format!("job:{}", job.id), &report).await?,
                None => Vec::new(),
            };
            self.0.catalog.report_jobs(&[job.id], &reports, now).await?;
            self.0.post.notify_one();
        }
        Ok(())
    }
}

/// The report of jobs that have all ended; none if they are of a kind that nobody wants to read of.
pub(super) fn of_jobs(kind: ReportKind, jobs: &[Job], now: Timestamp) -> Option<Report> {
    let tried_again = |job: &Job| jobs.iter().any(|other| other.retry_of == Some(job.id));
    let mut told: Vec<&Job> = jobs.iter().filter(|job| is_told(job) && !tried_again(job)).collect();
    told.sort_by(|a, b| badness(b.state).cmp(&badness(a.state)).then_with(|| a.subject.cmp(&b.subject)));
    let worst = told.first()?;
    let origin = &worst.origin;
    let subject =
        [&origin.schedule, &origin.group, &origin.task_name].into_iter().flatten().next().unwrap_or(&worst.subject);
    Some(Report {
        outcome: worst.state,
        jobs: told.iter().take(LISTED).map(|job| reported(job)).collect(),
        more_jobs: told.len().saturating_sub(LISTED) as u64,
        ..blank(kind, subject, now)
    })
}

/// Jobs that move data or look after it are told of; those that follow from them only when they go wrong; those that a
/// person has waited for never.
fn is_told(job: &Job) -> bool {
    match kind_word(job.spec.kind()).as_str() {
        word if TOLD.contains(&word) => true,
        "forget-points" | "recover" | "expand-selection" | "rescan-datastore" => !job.state.is_good(),
        _ => false,
    }
}

/// The kinds that a summary counts.
pub(super) const TOLD: &[&str] = &[
    "backup",
    "backup-meta-data",
    "backup-host",
    "restore",
    "restore-meta-data",
    "restore-host",
    "copy-points",
    "prune-datastore",
    "verify-datastore",
];

fn kind_word(kind: JobKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn badness(state: JobState) -> u8 {
    match state {
        JobState::Failed => 5,
        JobState::Interrupted => 4,
        JobState::Cancelled => 3,
        JobState::Warning => 2,
        _ => 1,
    }
}

fn reported(job: &Job) -> ReportedJob {
    ReportedJob {
        id: job.id,
        kind: job.spec.kind(),
        subject: job.subject.clone(),
        state: job.state,
        started_at: job.started_at,
        finished_at: job.finished_at,
        read_bytes: job.progress.moved_bytes,
        stored_bytes: job.progress.stored_bytes,
        problem: job.problem.clone(),
        warnings: job.warnings.clone(),
    }
}
