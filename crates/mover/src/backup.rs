//! Backup of one VM: a file a step, in the order of the design.
//!
//! resolve → preflight → reap → snapshot → read → commit → cleanup. Whatever happens between snapshot and cleanup, the
//! cleanup runs.

use std::path::Path;

use xenkeep_api::{ClientAccess, DatastoreAccess, JobResult, Transport};
use xenkeep_repo::Repo;

use crate::{
    context::{JobContext, Stop},
    datastore,
    session::Session,
};

mod cleanup;
mod commit;
mod preflight;
mod read;
mod reap;
mod resolve;
mod snapshot;

pub(crate) use commit::job_tag;

/// What to back up, from where, to where.
pub(crate) struct BackupSpec {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    /// name-label or uuid.
    pub(crate) vm: String,
    pub(crate) transport: Option<Transport>,
}

/// Backs up one VM; the point is listed when, and only when, this succeeds.
pub(crate) async fn back_up(cx: &JobContext, spec: &BackupSpec) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, &spec.datastore).await?;
    cx.info(format!("datastore {} opened at {}", spec.datastore.name, Path::new(&spec.datastore.path).display()));
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = Box::pin(with_pool(cx, spec, &repo, &session)).await;
    session.close().await;
    done
}

async fn with_pool(cx: &JobContext, spec: &BackupSpec, repo: &Repo, session: &Session) -> Result<JobResult, Stop> {
    let vm = resolve::resolve(cx, session, &spec.vm).await?;
    let places = preflight::check(cx, session, &vm).await?;
    cx.occupy(&places).await?;
    reap::reap(cx, session, &vm).await?;
    let snapshot = snapshot::take(cx, session, &vm).await?;
    let point = async {
        let read = read::read(cx, spec, repo, session, &snapshot).await?;
        commit::commit(cx, spec, session, &snapshot, read).await
    }
    .await;
    cleanup::clean(cx, session, snapshot).await;
    point.map(|point| JobResult::Point { point })
}
