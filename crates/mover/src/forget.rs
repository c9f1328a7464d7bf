//! Removing restore points from their repository, and protecting them from that.

use futures::future::join_all;
use xenkeep_api::{DatastoreAccess, JobResult, PointProtection, Problem};
use xenkeep_repo::{Error, Repo, SnapshotId};

use crate::{
    context::{JobContext, Stop, now},
    datastore, problem,
};

/// Points that are removed at once.
const AT_ONCE: usize = 8;

/// Removes points. What was removed is told whatever happens afterwards: the catalogue must not list it any more.
pub(crate) async fn forget(cx: &JobContext, datastore: &DatastoreAccess, points: &[String]) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, datastore).await?;
    cx.step("forget");
    let mut gone: Vec<String> = Vec::new();
    let mut failed: Option<Problem> = None;
    for ids in points.chunks(AT_ONCE) {
        // A removal that has begun is not dropped: whether it happened could not be told.
        if cx.cancel.is_cancelled() || failed.is_some() {
            break;
        }
        for (id, removed) in join_all(ids.iter().map(|id| remove(repo.clone(), id.clone()))).await {
            match removed {
                Ok(()) => gone.push(id),
                Err(Error::NotFound { .. }) => {
                    cx.info(format!("point {id} was gone already"));
                    gone.push(id);
                }
                Err(error) => {
                    let problem = problem::repo(datastore, &error);
                    cx.error(format!("point {id} was not removed: {}", problem.message));
                    failed.get_or_insert(problem);
                }
            }
        }
        cx.so_far(|so_far| *so_far = Some(JobResult::Forgotten { points: gone.clone() }));
    }
    cx.info(format!("{} of {} points removed; a prune frees what only they held", gone.len(), points.len()));
    if let Some(problem) = failed {
        return Err(problem.into());
    }
    if gone.len() < points.len() {
        return Err(Stop::Cancelled);
    }
    Ok(JobResult::Forgotten { points: gone })
}

/// Protects a point with a reason, or lifts that.
pub(crate) async fn protect(
    cx: &JobContext,
    datastore: &DatastoreAccess,
    point: String,
    reason: Option<String>,
) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, datastore).await?;
    cx.step("protect");
    let store = |error: Error| Stop::from(problem::repo(datastore, &error));
    let id: SnapshotId = point.parse().map_err(store)?;
    match &reason {
        Some(reason) => repo.protect(&id, reason).await.map_err(store)?,
        None => repo.unprotect(&id).await.map_err(store)?,
    }
    let protection = reason.map(|reason| PointProtection { reason, since: now() });
    Ok(JobResult::Protection { point, protection })
}

async fn remove(repo: Repo, id: String) -> (String, xenkeep_repo::Result<()>) {
    let removed = match id.parse::<SnapshotId>() {
        Ok(point) => repo.remove_point(&point).await,
        Err(error) => Err(error),
    };
    (id, removed)
}
