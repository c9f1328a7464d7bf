//! Recovery: undoes what an interrupted job left outside, and finds the points that it finished unseen.

use xenkeep_api::{ClientAccess, DatastoreAccess, JobId, JobResult, JournalEntry, Point, Problem};

use crate::{
    backup::job_tag,
    context::{JobContext, Stop},
    datastore,
    journal::Made,
    point::{POINT_FILE, PointFile},
    problem, restore,
    restore::Ending,
    session::Session,
    undo,
};

/// Brings into order what the job `interrupted` left. What can't be undone stays in the journal, and fails this job.
pub(crate) async fn recover(
    cx: &JobContext,
    interrupted: JobId,
    client: Option<&ClientAccess>,
    datastore: Option<&DatastoreAccess>,
    journal: Vec<JournalEntry>,
) -> Result<JobResult, Stop> {
    cx.step("undo");
    let mut undone = Vec::new();
    let mut failure = None;
    if !journal.is_empty() {
        let client = client.ok_or_else(|| Problem::new("internal", "a journal without the pool that it is about"))?;
        let session = Session::open(cx, client, None).await?;
        // The latest thing first, as it may stand on an earlier one.
        for entry in journal.into_iter().rev() {
            match undo(cx, &session, &entry).await {
                Ok(lines) => undone.extend(lines),
                Err(stop) => {
                    cx.error(stop.text());
                    failure.get_or_insert(stop);
                }
            }
        }
        session.close().await;
    }
    for line in &undone {
        cx.info(line);
    }
    if let Some(stop) = failure {
        return Err(stop);
    }
    cx.step("find");
    let points = match datastore {
        Some(datastore) => points(cx, interrupted, datastore).await?,
        None => Vec::new(),
    };
    Ok(JobResult::Recovered { undone, points })
}

async fn undo(cx: &JobContext, session: &Session, entry: &JournalEntry) -> Result<Vec<String>, Stop> {
    cx.check()?;
    let made: Made = serde_json::from_value(entry.what.clone()).map_err(|error| {
        Problem::new("journal.unreadable", format!("the journal entry {} can't be read: {error}", entry.id))
            .hint("it was written by a newer xenkeep: update this mover")
    })?;
    match made {
        Made::Snapshot(made) => undo::snapshot(cx, session, made, Some(entry.id)).await,
        Made::Stopped(made) => undo::stopped(cx, session, made, Some(entry.id)).await,
        Made::Frozen(made) => undo::frozen(cx, session, made, Some(entry.id)).await,
        Made::Import(made) => undo::import(cx, session, made, Some(entry.id)).await,
        Made::Task(made) => undo::tasks(cx, session, &made, entry.id).await,
        Made::Swap(made) => {
            let name = made.vm_name.clone();
            let (ending, mut undone) = Box::pin(restore::settle(cx, session, entry.id, *made)).await?;
            match ending {
                Ending::Forward { left: Some(stop), .. } => return Err(stop),
                Ending::Forward { left: None, .. } => undone.push(format!("VM {name} is the restored one")),
                Ending::Backward => undone.push(format!("VM {name} is the old one")),
            }
            Ok(undone)
        }
    }
}

/// Points that the job committed but could not report.
async fn points(cx: &JobContext, job: JobId, datastore: &DatastoreAccess) -> Result<Vec<Point>, Stop> {
    let repo = datastore::open(cx, datastore).await?;
    let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
    let tag = job_tag(job);
    let mut found = Vec::new();
    for meta in repo.points().await.map_err(store)? {
        if !meta.tags.contains(&tag) {
            continue;
        }
        let reader = repo.open_point(&meta.id).await.map_err(store)?;
        let json = reader.file(POINT_FILE).await.map_err(store)?;
        let file: PointFile = serde_json::from_slice(&json).map_err(|error| {
            Problem::new("point.damaged", format!("{POINT_FILE} of point {} can't be read: {error}", meta.id.short()))
        })?;
        cx.info(format!("point {} was finished by the interrupted job", meta.id.short()));
        found.push(file.to_point(meta.id.to_string(), datastore.id));
    }
    Ok(found)
}
