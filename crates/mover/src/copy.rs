//! Copying restore points to another datastore.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use xenkeep_api::{CopySummary, DatastoreAccess, JobResult, Point, Problem};
use xenkeep_repo::{Copier, CopyOptions, Counters, Error, Repo, SnapshotId};

use crate::{
    context::{JobContext, Stop},
    datastore,
    point::{POINT_FILE, PointFile},
    problem::{self, bytes},
    progress::Reading,
};

/// A point to be copied.
struct Planned {
    id: SnapshotId,
    file: PointFile,
}

/// Copies points, one after the other. A point that can't be read does not keep the others from being copied; what was
/// copied stays, and is told, whatever happens afterwards.
pub(crate) async fn copy(
    cx: &JobContext,
    from: &DatastoreAccess,
    to: &DatastoreAccess,
    points: &[String],
) -> Result<JobResult, Stop> {
    cx.step("open");
    let source = datastore::open(cx, from).await?;
    let target = datastore::open(cx, to).await?;
    let counters = Arc::new(Counters::default());
    let options = CopyOptions { counters: Arc::clone(&counters), ..CopyOptions::default() };
    let ready = async { source.copier(&target, options).await.map_err(|error| refused(from, to, &error)) };
    let mut copier = cx.or_cancelled(ready).await?;
    cx.step("plan");
    let (planned, mut failures) = plan(cx, from, &source, points).await?;
    let read_bytes = watch(cx, &planned, &counters);
    cx.step("copy");
    cx.so_far(|so_far| *so_far = Some(JobResult::Copied { copy: CopySummary::default() }));
    for point in planned {
        match copy_one(cx, (from, to), &mut copier, &point, &counters, &read_bytes).await {
            Ok(()) => {}
            Err(Failed::Point(problem)) => failures.push(problem),
            Err(Failed::Job(stop)) => return Err(stop),
        }
    }
    if let Some(first) = failures.into_iter().next() {
        return Err(first.into());
    }
    cx.kept().ok_or_else(|| Problem::new("internal", "the result of the copy was lost").into())
}

/// Why a point was not copied.
enum Failed {
    /// It can't be read.
    Point(Problem),
    /// Nothing can be copied any more.
    Job(Stop),
}

async fn copy_one(
    cx: &JobContext,
    (from, to): (&DatastoreAccess, &DatastoreAccess),
    copier: &mut Copier,
    point: &Planned,
    counters: &Counters,
    read_bytes: &AtomicU64,
) -> Result<(), Failed> {
    let short = point.id.short();
    let copied = tokio::select! {
        biased;
        () = cx.cancel.cancelled() => return Err(Failed::Job(Stop::Cancelled)),
        copied = copier.copy_point(&point.id) => copied,
    };
    let report = copied.map_err(|error| match error {
        Error::Damaged { .. } | Error::NotFound { .. } => {
            let problem = problem::repo(from, &error);
            cx.error(format!("point {short} was not copied: {}", problem.message));
            Failed::Point(problem)
        }
        error => Failed::Job(refused(from, to, &error).into()),
    })?;
    read_bytes.fetch_add(report.read_bytes, Ordering::Relaxed);
    if report.already_there {
        cx.info(format!("point {short} is there already, as {}", report.id.short()));
    } else {
        cx.info(format!("point {short} copied: it is called {} there", report.id.short()));
    }
    let copy = point.file.to_point(report.id.to_string(), to.id);
    note(cx, copy, report.already_there, read_bytes.load(Ordering::Relaxed), counters.stored_bytes());
    Ok(())
}

fn note(cx: &JobContext, point: Point, present: bool, read_bytes: u64, stored_bytes: u64) {
    cx.so_far(|so_far| {
        if let Some(JobResult::Copied { copy }) = so_far {
            copy.points.push(point);
            copy.present += u64::from(present);
            copy.read_bytes = read_bytes;
            copy.stored_bytes = stored_bytes;
        }
    });
}

/// Reads the descriptions of all points: how much there is to do, and what they will be called in the catalogue.
async fn plan(
    cx: &JobContext,
    from: &DatastoreAccess,
    source: &Repo,
    points: &[String],
) -> Result<(Vec<Planned>, Vec<Problem>), Stop> {
    let (mut planned, mut failures) = (Vec::new(), Vec::new());
    for id in points {
        match cx.or_cancelled(async { Ok::<_, Stop>(describe(source, id).await) }).await? {
            Ok(point) => planned.push(point),
            Err(error) => {
                let problem = problem::repo(from, &error);
                if !matches!(error, Error::Damaged { .. } | Error::NotFound { .. }) {
                    return Err(problem.into());
                }
                cx.error(format!("point {id} can't be copied: {}", problem.message));
                failures.push(problem);
            }
        }
    }
    let size = planned.iter().map(|point| point.file.size_bytes).sum();
    cx.info(format!("{} points to copy, disks of {}", planned.len(), bytes(size)));
    Ok((planned, failures))
}

async fn describe(source: &Repo, id: &str) -> xenkeep_repo::Result<Planned> {
    let id: SnapshotId = id.parse()?;
    let json = source.open_point(&id).await?.file(POINT_FILE).await?;
    let file = serde_json::from_slice(&json).map_err(|error| Error::Damaged {
        what: format!("{POINT_FILE} of point {}", id.short()),
        why: error.to_string(),
    })?;
    Ok(Planned { id, file })
}

/// Shows how far the copy is. Returns where the bytes are counted that were read of the source.
fn watch(cx: &JobContext, planned: &[Planned], counters: &Arc<Counters>) -> Arc<AtomicU64> {
    let read = Arc::new(AtomicU64::new(0));
    cx.board.watch_store(Arc::clone(counters));
    cx.board.watch({
        let total_bytes = planned.iter().map(|point| point.file.size_bytes).sum::<u64>();
        let (counters, read) = (Arc::clone(counters), Arc::clone(&read));
        move || Reading {
            total_bytes,
            done_bytes: counters.read_bytes().min(total_bytes),
            moved_bytes: read.load(Ordering::Relaxed),
        }
    });
    read
}

fn refused(from: &DatastoreAccess, to: &DatastoreAccess, error: &Error) -> Problem {
    match error {
        Error::Invalid(why) => {
            Problem::new("copy.impossible", format!("datastore {} can't be copied to {}: {why}", from.name, to.name))
                .about(&to.name)
        }
        error => problem::repo(to, error),
    }
}
