//! One job from its lease to its report.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::task::JoinError;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use xenkeep_api::{Directive, JobReport, JobResult, JobState, LeasedJob, Problem};

use crate::{
    LeaseError, Leases, MoverConfig,
    context::{JobContext, Log, Stop},
    datastore::Repos,
    fence::{Fence, Moment},
    journal::Journal,
    progress::Board,
    work,
};

/// How long one renewal may take before the next is tried.
const RENEWAL_LIMIT: Duration = Duration::from_secs(30);

/// How long the report of a job is offered to a server that does not answer.
const REPORT_PATIENCE: Duration = Duration::from_secs(600);

/// Runs `job` to its end: does it, keeps its lease, reports it.
pub(crate) async fn run(
    leases: Arc<dyn Leases>,
    config: Arc<MoverConfig>,
    repos: Arc<Repos>,
    shutdown: CancellationToken,
    job: LeasedJob,
    asked: Moment,
) {
    let (id, number) = (job.id, job.fence);
    let fence = Arc::new(Fence::new(leases.lasts(), asked));
    let abandon = CancellationToken::new();
    let cx = JobContext {
        job: id,
        cancel: CancellationToken::new(),
        board: Arc::new(Board::default()),
        log: Arc::new(Log::default()),
        journal: Journal::new(Arc::clone(&leases), id, number, abandon.clone(), Arc::clone(&fence)),
        so_far: Arc::default(),
        pool: Arc::default(),
        task: job.task.clone(),
        config,
        repos,
    };
    // A task of its own, so that a panic in it ends the job and not the mover.
    let mut work = AbortOnDropHandle::new(tokio::spawn(work::work(cx.clone(), Arc::clone(&leases), job)));
    let done = tokio::select! {
        biased;
        () = abandon.cancelled() => None,
        done = &mut work => Some(done),
        () = keep_lease(&cx, &*leases, number, &fence, &shutdown) => None,
        () = fence.lost() => {
            tracing::warn!(job = %id, "the server has not been reached for so long that the job is given up");
            None
        }
    };
    let Some(done) = done else {
        tracing::warn!(job = %id, "lease lost, job dropped");
        work.abort();
        let _ = work.await;
        return;
    };
    let report = report(&cx, done, shutdown.is_cancelled());
    deliver(&cx, &*leases, number, &fence, &report).await;
}

/// Renews the lease until it is lost; hands on what the server and the mover's owner want.
async fn keep_lease(cx: &JobContext, leases: &dyn Leases, number: i64, fence: &Fence, shutdown: &CancellationToken) {
    let mut ticks = tokio::time::interval(cx.config.renew_every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled(), if !cx.cancel.is_cancelled() => {
                cx.cancel.cancel();
                continue;
            }
        }
        match renew(cx, leases, number, fence).await {
            Ok(Directive::Continue) => {}
            Ok(Directive::Cancel) => cx.cancel.cancel(),
            Ok(Directive::Abandon) | Err(LeaseError::Lost | LeaseError::Refused(_)) => return,
            Err(error) => {
                tracing::warn!(job = %cx.job, error = &error as &dyn std::error::Error, "lease not renewed");
            }
        }
    }
}

async fn renew(cx: &JobContext, leases: &dyn Leases, number: i64, fence: &Fence) -> Result<Directive, LeaseError> {
    let lines = cx.log.take();
    let asked = Moment::now();
    let progress = cx.progress();
    let answer = tokio::time::timeout(RENEWAL_LIMIT, leases.renew(cx.job, number, &progress, lines.clone()))
        .await
        .unwrap_or_else(|late| Err(LeaseError::Unavailable(Box::new(late))));
    match answer {
        Ok(Directive::Continue | Directive::Cancel) => fence.renewed(asked),
        Ok(Directive::Abandon) => {}
        Err(_) => cx.log.put_back(lines),
    }
    answer
}

fn report(cx: &JobContext, done: Result<Result<JobResult, Stop>, JoinError>, stopping: bool) -> JobReport {
    let warnings = cx.log.warnings();
    let (state, problem, result) = match done {
        Ok(Ok(result)) if warnings.is_empty() => (JobState::Success, None, Some(result)),
        Ok(Ok(result)) => (JobState::Warning, None, Some(result)),
        Ok(Err(Stop::Cancelled)) => (JobState::Cancelled, stopping.then(mover_stopped), cx.kept()),
        Ok(Err(Stop::Problem(problem))) => (JobState::Failed, Some(*problem), cx.kept()),
        Err(panic) => (JobState::Failed, Some(Problem::internal(&panic)), cx.kept()),
    };
    if let Some(problem) = &problem {
        cx.error(problem.message.clone());
    }
    let pool = cx.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
    JobReport { state, problem, warnings, result, progress: cx.progress(), pool }
}

fn mover_stopped() -> Problem {
    Problem::new("job.mover_stopped", "the mover was stopped while the job ran").hint("start the job again")
}

/// Hands over the last lines and the report; goes on trying for a while, since a finished backup should not be lost.
async fn deliver(cx: &JobContext, leases: &dyn Leases, number: i64, fence: &Fence, report: &JobReport) {
    let deadline = tokio::time::Instant::now() + REPORT_PATIENCE;
    let mut pause = Duration::from_millis(200);
    let mut lines_pending = true;
    loop {
        let mut answer = Ok(());
        if lines_pending {
            answer = renew(cx, leases, number, fence).await.map(|_| ());
            lines_pending = answer.is_err() || cx.log.has_lines();
        }
        if answer.is_ok() && lines_pending {
            continue;
        }
        if answer.is_ok() {
            answer = leases.finish(cx.job, number, report).await;
        }
        match answer {
            Ok(()) => return,
            Err(error) if error.is_transient() && tokio::time::Instant::now() + pause < deadline => {
                tracing::warn!(job = %cx.job, error = &error as &dyn std::error::Error, "report not delivered yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(15));
            }
            Err(error) => {
                tracing::error!(job = %cx.job, error = &error as &dyn std::error::Error, "report not delivered");
                return;
            }
        }
    }
}
