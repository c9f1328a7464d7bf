//! Takes away what a job made on a pool: at the end of the job itself, and in a `recover` job after its mover has died.
//!
//! Everything here looks before it acts and may be run again and again. Nothing is removed but what is named by uuid in
//! the journal or bears the mark of the job.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use xapi::{Backoff, VmRef};
use xenkeep_api::Problem;

use crate::{
    context::{JobContext, Stop},
    journal::{Made, SnapshotMade, StoppedMade, TaskMade},
    session::Session,
};

mod disks;
mod frozen;
mod import;
mod snapshot;
mod stopped;
mod tasks;

pub(crate) use disks::{destroy as destroy_vdi, is_free};
pub(crate) use frozen::frozen;
pub(crate) use import::{import, strip_marks};
pub(crate) use tasks::sweep as sweep_tasks;

/// How long all of one undoing may take. A pool that does not answer is left to a later run.
const LIMIT: Duration = Duration::from_secs(180);

/// Removes a snapshot with its disks; says what was done. Clears `entry` when nothing is left.
pub(crate) async fn snapshot(
    cx: &JobContext,
    session: &Session,
    made: SnapshotMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    let undone = within_limit(session, Box::pin(snapshot::remove(cx, session, made, entry))).await?;
    if let Some(entry) = entry {
        cx.journal.clear(entry).await?;
    }
    Ok(undone)
}

/// Ends and removes the tasks of a job. Clears `entry` when nothing is left.
pub(crate) async fn tasks(
    cx: &JobContext,
    session: &Session,
    made: &TaskMade,
    entry: Uuid,
) -> Result<Vec<String>, Stop> {
    within_limit(session, tasks::sweep(session, made.job, &[])).await?;
    cx.journal.clear(entry).await?;
    Ok(Vec::new())
}

/// Starts a VM again that was shut down, or resumes one that was suspended; says what was done. Clears `entry` when it runs.
pub(crate) async fn stopped(
    cx: &JobContext,
    session: &Session,
    made: StoppedMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    let undone = within_limit(session, stopped::start(cx, session, &made, entry)).await?;
    if let Some(entry) = entry {
        cx.journal.clear(entry).await?;
    }
    Ok(undone)
}

/// Writes what undoing has found out, so that it survives our death.
async fn note_down(cx: &JobContext, entry: Option<Uuid>, made: impl FnOnce() -> Made) -> Result<(), Stop> {
    match entry {
        Some(entry) => cx.journal.rewrite(entry, &made()).await,
        None => Ok(()),
    }
}

/// Removes a VM's record; true if it was there. Patiently: an export that was cut counts as under way for some seconds more.
pub(crate) async fn destroy_vm(session: &Session, vm: &VmRef) -> Result<bool, Stop> {
    let never = CancellationToken::new();
    match xapi::retry(Backoff::default(), &never, || session.pool.vm_destroy(vm)).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_gone() => Ok(false),
        Err(error) => Err(session.stop(&error)),
    }
}

/// Gives up on a pool that does not answer; undoing can be dropped half-way.
async fn within_limit<T>(session: &Session, work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    within(LIMIT, session, work).await
}

async fn within<T>(limit: Duration, session: &Session, work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Problem::new("pool.silent", format!("pool {} does not answer", session.client.name)).into())
    })
}

/// Says so when something of ours had to be left on the pool; true if nothing was.
pub(crate) fn or_warn(cx: &JobContext, what: &str, undone: Result<Vec<String>, Stop>) -> bool {
    match undone {
        Ok(_) => true,
        Err(stop) => {
            cx.warn(
                Problem::new("pool.not_clean", format!("{what} could not be removed from the pool: {}", stop.text()))
                    .hint("xenkeep tries again; nothing needs to be done unless this stays so"),
            );
            false
        }
    }
}
