//! Verifying a datastore: what is damaged, what that touches, what can be done.

use std::{sync::Arc, time::Duration};

use xenkeep_api::{
    DamagedFile, DatastoreAccess, JobResult, Problem, TouchedPoint, UndecidedFile, VerifyDepth, VerifyRequest,
    VerifySummary,
};
use xenkeep_repo::{AffectedPoint, Depth, Repo, VerifyOptions, VerifyProgress, VerifyReport};

use crate::{
    context::{JobContext, Stop},
    datastore,
    point::{POINT_FILE, PointFile},
    problem::{self, bytes},
    progress::Reading,
};

/// Points that a sentence names before it says how many more there are.
const NAMED: usize = 5;

/// Verifies a datastore. Damage that touches restore points fails the job; its result tells all that was found.
pub(crate) async fn verify(
    cx: &JobContext,
    datastore: &DatastoreAccess,
    request: &VerifyRequest,
) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, datastore).await?;
    let progress = Arc::new(VerifyProgress::default());
    cx.board.watch({
        let progress = Arc::clone(&progress);
        move || {
            let done_bytes = progress.bytes_done();
            Reading { total_bytes: progress.bytes_total(), done_bytes, moved_bytes: done_bytes }
        }
    });
    let options = VerifyOptions {
        depth: match request.depth {
            VerifyDepth::Quick => Depth::Quick,
            VerifyDepth::Full => Depth::Full,
        },
        share: request.share_percent.map(|percent| percent / 100.0),
        older_than: request.older_than_seconds.map(Duration::from_secs),
        progress: Arc::clone(&progress),
        ..VerifyOptions::default()
    };
    let work = cx.or_cancelled(async { repo.verify(options).await.map_err(|error| problem::repo(datastore, &error)) });
    let report = cx.stepping(work, || if progress.points_total() > 0 { "points" } else { "packs" }).await?;
    cx.step("report");
    let verify = summary(cx, &repo, request, report).await?;
    conclude(cx, datastore, verify)
}

async fn summary(
    cx: &JobContext,
    repo: &Repo,
    request: &VerifyRequest,
    report: VerifyReport,
) -> Result<VerifySummary, Stop> {
    let mut touched = Vec::new();
    for point in report.affected_points() {
        cx.check()?;
        touched.push(touched_point(repo, point).await);
    }
    Ok(VerifySummary {
        request: request.clone(),
        points: report.points,
        packs_total: report.packs_total,
        bytes_total: report.bytes_total,
        packs_read: report.packs_checked,
        bytes_read: report.bytes_read,
        files: report
            .damaged
            .into_iter()
            .map(|file| DamagedFile {
                name: file.name,
                why: file.why,
                chunks: file.chunks,
                lost_chunks: file.lost_chunks,
                points: file.points.len() as u64,
                remedy: file.remedy,
            })
            .collect(),
        more_files: report.more_damaged,
        undecided: report.undecided.into_iter().map(|file| UndecidedFile { name: file.name, why: file.why }).collect(),
        touched,
        healed_chunks: report.healed_chunks,
        cleared_packs: report.cleared_packs,
        unindexed_bytes: report.unindexed_bytes,
        never_read_packs: report.never_verified_packs,
        oldest_read: report.oldest_verified,
    })
}

/// Gives a point that damage touches the name that people know; where its description is lost too, the uuid must do.
async fn touched_point(repo: &Repo, point: AffectedPoint) -> TouchedPoint {
    let (client, vm) = point.root.trim_start_matches('/').split_once('/').unwrap_or(("", &point.root));
    let (client_name, source_uuid) = (client.to_owned(), vm.to_owned());
    let file = if point.whole { None } else { description(repo, &point).await };
    let AffectedPoint { id, time, disks, files, whole, .. } = point;
    TouchedPoint {
        point: id.to_string(),
        source_name: file.as_ref().map(|file| file.vm.name.clone()),
        client_name: file.map_or(client_name, |file| file.client.name),
        source_uuid,
        taken_at: time,
        disks,
        files,
        whole,
    }
}

async fn description(repo: &Repo, point: &AffectedPoint) -> Option<PointFile> {
    let reader = repo.open_point(&point.id).await.ok()?;
    let json = reader.file(POINT_FILE).await.ok()?;
    serde_json::from_slice(&json).ok()
}

fn conclude(cx: &JobContext, datastore: &DatastoreAccess, verify: VerifySummary) -> Result<JobResult, Stop> {
    cx.info(format!(
        "{} points, {} packs ({}); {} packs ({}) read",
        verify.points,
        verify.packs_total,
        bytes(verify.bytes_total),
        verify.packs_read,
        bytes(verify.bytes_read)
    ));
    for file in &verify.files {
        cx.note(format!("{}: {}; {}", file.name, file.why, file.remedy));
    }
    for file in &verify.undecided {
        cx.note(format!("{}: could not be judged: {}", file.name, file.why));
    }
    for point in &verify.touched {
        cx.error(format!("point {} of {} can't be restored whole: {}", short(&point.point), name(point), lost(point)));
    }
    let problem = verdict(datastore, &verify);
    let result = JobResult::Verified { verify };
    match problem {
        None => Ok(result),
        Some((Severity::Lost, problem)) => {
            cx.so_far(|so_far| *so_far = Some(result));
            Err(problem.into())
        }
        Some((Severity::Untidy, problem)) => {
            cx.warn(problem);
            Ok(result)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// A restore point can't be restored whole.
    Lost,
    /// Something is not as it should be, and no restore point needs it; or nobody can say.
    Untidy,
}

fn verdict(datastore: &DatastoreAccess, verify: &VerifySummary) -> Option<(Severity, Problem)> {
    let store = &datastore.name;
    let files = verify.files.len() as u64 + verify.more_files;
    if !verify.touched.is_empty() {
        let mut named: Vec<String> = Vec::new();
        for point in &verify.touched {
            let text = format!("{} ({})", name(point), lost(point));
            if !named.contains(&text) {
                named.push(text);
            }
        }
        let more = named.len().saturating_sub(NAMED);
        named.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "datastore {store}: {} restore point(s) can't be restored whole, because {files} file(s) are missing or damaged: \
             {}{more}",
            verify.touched.len(),
            named.join(", ")
        );
        let problem = Problem::new("datastore.points_damaged", message).about(store).hint(
            "look after the disks that the datastore lies on; then back these VMs up: what is read again is stored again, \
             and heals older points as far as they share it. A copy in another datastore can be restored or copied back",
        );
        return Some((Severity::Lost, problem));
    }
    if files > 0 {
        let message =
            format!("datastore {store}: {files} file(s) are missing or damaged, and no restore point needs them");
        let problem = Problem::new("datastore.files_damaged", message).about(store);
        return Some((
            Severity::Untidy,
            problem.hint(format!("xenkeep datastore prune {store} removes what is not needed")),
        ));
    }
    let first = verify.undecided.first()?;
    let message = format!(
        "datastore {store}: of {} file(s) it can't be said whether they are damaged: {}: {}",
        verify.undecided.len(),
        first.name,
        first.why
    );
    let problem = Problem::new("datastore.files_undecided", message).about(store);
    Some((Severity::Untidy, problem.hint("see whether this machine may read all of the datastore, then verify again")))
}

fn name(point: &TouchedPoint) -> &str {
    point.source_name.as_deref().unwrap_or(&point.source_uuid)
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What of a point is lost, in words.
fn lost(point: &TouchedPoint) -> String {
    if point.whole {
        return "all of it".to_owned();
    }
    let disks = point.disks.iter().map(|disk| format!("disk {disk}"));
    disks.chain(point.files.iter().cloned()).collect::<Vec<_>>().join(", ")
}
