//! Pruning a datastore.

use std::{sync::Arc, time::Duration};

use xenkeep_api::{
    DatastoreAccess, JobResult, PackCount, Problem, PruneClass, PruneRequest, PruneSummary, PruneWaiting,
};
use xenkeep_repo::{PackTotals, PruneOptions, PruneProgress, PruneReport, PruneStep, Waiting, WaitingReason, Why};

use crate::{
    context::{JobContext, Stop},
    datastore,
    problem::{self, bytes},
    progress::Reading,
};

/// Frees what no restore point refers to. May be cancelled anywhere: the next prune goes on.
pub(crate) async fn prune(
    cx: &JobContext,
    datastore: &DatastoreAccess,
    request: &PruneRequest,
) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, datastore).await?;
    let progress = Arc::new(PruneProgress::default());
    cx.board.watch({
        let progress = Arc::clone(&progress);
        move || reading(&progress)
    });
    let options = PruneOptions {
        dry_run: request.dry_run,
        grace: Duration::from_secs(request.grace_seconds),
        max_unused_percent: request.max_unused_percent,
        progress: Arc::clone(&progress),
        ..PruneOptions::default()
    };
    let work = cx.or_cancelled(async { repo.prune(options).await.map_err(|error| problem::repo(datastore, &error)) });
    let report = cx.stepping(work, || step(progress.step())).await?;
    let prune = summary(request, &report);
    tell(cx, datastore, &prune, &report);
    Ok(JobResult::Pruned { prune })
}

fn step(step: PruneStep) -> &'static str {
    match step {
        PruneStep::Opening => "open",
        PruneStep::Walking => "walk",
        PruneStep::Counting => "count",
        PruneStep::Sweeping => "sweep",
        PruneStep::Repacking => "repack",
        PruneStep::Marking => "mark",
    }
}

/// Only one of the steps counts bytes.
fn reading(progress: &PruneProgress) -> Reading {
    match progress.step() {
        PruneStep::Repacking => {
            let done_bytes = progress.done();
            Reading { total_bytes: progress.total(), done_bytes, moved_bytes: done_bytes }
        }
        _ => Reading::default(),
    }
}

fn summary(request: &PruneRequest, report: &PruneReport) -> PruneSummary {
    let waiting_bytes = report.waiting.iter().map(|waiting| waiting.packs.bytes).sum::<u64>();
    // What this run marked counts as unused, or was written again, before; afterwards it waits or is deleted.
    let settled = report.marked.bytes.saturating_sub(report.rewritten_bytes);
    let open = if request.dry_run { report.to_delete.bytes.saturating_sub(report.rewritten_bytes) } else { 0 };
    PruneSummary {
        dry_run: request.dry_run,
        points: report.points,
        used_bytes: report.used_bytes,
        unused_bytes: report.unused_bytes,
        classes: report
            .why
            .iter()
            .map(|class| PruneClass {
                why: class.why.as_str().to_owned(),
                count: count(class.packs),
                unused_bytes: class.unused_bytes,
            })
            .collect(),
        to_delete: count(report.to_delete),
        repacked: count(report.repacked),
        rewritten_bytes: report.rewritten_bytes,
        marked: count(report.marked),
        deleted: count(report.deleted),
        rescued_packs: report.rescued_packs,
        waiting: report.waiting.iter().map(waiting).collect(),
        stored_bytes: (report.used_bytes + report.unused_bytes).saturating_sub(settled) + waiting_bytes,
        reclaimable_bytes: open + waiting_bytes,
    }
}

fn count(totals: PackTotals) -> PackCount {
    PackCount { packs: totals.packs, bytes: totals.bytes }
}

fn waiting(waiting: &Waiting) -> PruneWaiting {
    let (reason, until) = match &waiting.reason {
        WaitingReason::Grace { until } => ("the grace time is not over".to_owned(), Some(*until)),
        WaitingReason::Session { who, since } => {
            (format!("{who} works in the datastore since {since}, when they were not marked yet"), None)
        }
        WaitingReason::ForeignLock { who } => {
            (format!("{who} works in the datastore and can't know that they are marked"), None)
        }
    };
    PruneWaiting { count: count(waiting.packs), reason, until }
}

fn tell(cx: &JobContext, datastore: &DatastoreAccess, prune: &PruneSummary, report: &PruneReport) {
    let packs = |count: PackCount| format!("{} packs ({})", count.packs, bytes(count.bytes));
    cx.info(format!("{} points use {}; {} unused", prune.points, bytes(prune.used_bytes), bytes(prune.unused_bytes)));
    for class in &prune.classes {
        cx.info(format!("{}: {}", packs(class.count), class.why));
    }
    if !prune.dry_run {
        cx.info(format!("{} marked, {} deleted", packs(prune.marked), packs(prune.deleted)));
    }
    for waiting in &prune.waiting {
        cx.info(format!("{} wait: {}", packs(waiting.count), waiting.reason));
    }
    if let Some(class) = report.why.iter().find(|class| class.why == Why::Damaged) {
        let message =
            format!("datastore {}: {} packs are damaged and stay as they are", datastore.name, class.packs.packs);
        let problem = Problem::new("datastore.packs_damaged", message).about(&datastore.name);
        cx.warn(problem.hint(format!("find out what is lost: xenkeep datastore verify {} --full", datastore.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_can_be_freed() {
        let totals = |bytes| PackTotals { packs: 1, bytes };
        let report = PruneReport { used_bytes: 900, unused_bytes: 100, ..PruneReport::default() };
        let dry = PruneRequest { dry_run: true, ..PruneRequest::default() };
        let found = PruneReport { to_delete: totals(120), rewritten_bytes: 30, ..report.clone() };
        let dry = summary(&dry, &found);
        assert_eq!((dry.stored_bytes, dry.reclaimable_bytes), (1000, 90));
        // Marked: the used part lies there twice until that is deleted.
        let wait = Waiting { packs: totals(120), reason: WaitingReason::ForeignLock { who: "restic".into() } };
        let marked = PruneReport { marked: totals(120), waiting: vec![wait], ..found.clone() };
        let marked = summary(&PruneRequest::default(), &marked);
        assert_eq!((marked.stored_bytes, marked.reclaimable_bytes), (1030, 120));
        let deleted = PruneReport { marked: totals(120), deleted: totals(120), ..found };
        let deleted = summary(&PruneRequest::default(), &deleted);
        assert_eq!((deleted.stored_bytes, deleted.reclaimable_bytes), (910, 0));
    }
}
