//! What points there are in a repository, compared with what the catalogue knows.

use std::collections::HashMap;

use futures::{StreamExt, stream};
use xenkeep_api::{
    DatastoreAccess, JobResult, KnownPoint, Point, PointProtection, Problem, RescanSummary, UnreadablePoint,
};
use xenkeep_repo::{PointMeta, Repo};

use crate::{
    context::{JobContext, Stop},
    datastore,
    point::{FORMAT, POINT_FILE, PointFile},
    problem,
};

/// Descriptions of points that are read at once.
const READS_IN_FLIGHT: usize = 16;
/// Points that cannot be read and are named one by one.
const NAMED: usize = 20;

/// Finds what the catalogue does not know, and what it knows and is gone. Only what is not known is read.
pub(crate) async fn rescan(
    cx: &JobContext,
    datastore: &DatastoreAccess,
    known: Vec<KnownPoint>,
) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, datastore).await?;
    cx.step("scan");
    let scan = async { repo.scan().await.map_err(|error| problem::repo(datastore, &error)) };
    let list = cx.or_cancelled(scan).await?;
    let mut known: HashMap<String, Option<PointProtection>> =
        known.into_iter().map(|point| (point.id, point.protection)).collect();
    let mut rescan = RescanSummary::default();
    for damaged in list.damaged {
        let id = damaged.id.to_string();
        // It is there, and may be put right.
        known.remove(&id);
        rescan.unreadable.push(UnreadablePoint { id, why: problem::chain(&damaged.error) });
    }
    let mut unknown = Vec::new();
    for meta in list.points {
        let id = meta.id.to_string();
        let protection = protection(&meta);
        match known.remove(&id) {
            Some(before) if before == protection => {}
            Some(_) => rescan.protections.push(KnownPoint { id, protection }),
            None => {
                unknown.push(meta);
                continue;
            }
        }
        rescan.found += 1;
    }
    rescan.gone = known.into_keys().collect();
    rescan.gone.sort();
    let mut reads = stream::iter(unknown)
        .map(|meta| {
            let repo = &repo;
            async move { (meta.id.to_string(), read(repo, datastore, &meta).await) }
        })
        .buffered(READS_IN_FLIGHT);
    while let Some((id, read)) = cx.or_cancelled(async { Ok::<_, Stop>(reads.next().await) }).await? {
        match read {
            Ok(point) => {
                rescan.found += 1;
                rescan.added.push(point);
            }
            Err(why) => rescan.unreadable.push(UnreadablePoint { id, why }),
        }
    }
    tell(cx, datastore, &rescan);
    Ok(JobResult::Rescanned { rescan })
}

async fn read(repo: &Repo, datastore: &DatastoreAccess, meta: &PointMeta) -> Result<Point, String> {
    let reader = repo.open_point(&meta.id).await.map_err(|error| problem::chain(&error))?;
    let json = reader.file(POINT_FILE).await.map_err(|error| problem::chain(&error))?;
    let file: PointFile =
        serde_json::from_slice(&json).map_err(|error| format!("{POINT_FILE} is not understood: {error}"))?;
    if file.format > FORMAT {
        return Err(format!("it was written by {}: update xenkeep", file.written_by));
    }
    let point = file.to_point(meta.id.to_string(), datastore.id);
    Ok(Point { protection: protection(meta), ..point })
}

fn protection(meta: &PointMeta) -> Option<PointProtection> {
    let protected = meta.protected.as_ref()?;
    // The catalogue counts in milliseconds.
    let since = jiff::Timestamp::from_millisecond(protected.at.as_millisecond()).unwrap_or(protected.at);
    Some(PointProtection { reason: protected.reason.clone(), since })
}

fn tell(cx: &JobContext, datastore: &DatastoreAccess, rescan: &RescanSummary) {
    let (added, gone) = (rescan.added.len(), rescan.gone.len());
    cx.info(format!("{} points found, {added} of them new to the catalogue; {gone} are gone", rescan.found));
    for id in rescan.gone.iter().take(NAMED) {
        cx.note(format!("point {id} is gone"));
    }
    for point in rescan.unreadable.iter().take(NAMED) {
        let message = format!("point {} can't be read: {}", point.id.get(..8).unwrap_or(&point.id), point.why);
        cx.warn(
            Problem::new("point.damaged", message)
                .hint("`xenkeep datastore verify` says what is damaged")
                .about(&point.id),
        );
    }
    if rescan.unreadable.len() > NAMED {
        let message = format!("{} points of datastore {} can't be read", rescan.unreadable.len(), datastore.name);
        cx.warn(Problem::new("point.damaged", message).about(&datastore.name));
    }
}
