//! Backup of one VM: a file a step, in the order of the design.
//!
//! resolve → preflight → reap → snapshot → read → commit → cleanup. Whatever happens between snapshot and cleanup, the
//! cleanup runs. A command of the administrator's runs before the snapshot, and one after the cleanup.

use std::path::Path;

use xapi::{VmRef, record::Vm};
use xenkeep_api::{BackupOptions, BackupType, ClientAccess, DatastoreAccess, JobResult, Point, Transport};
use xenkeep_repo::Repo;

use crate::{
    context::{JobContext, Stop},
    datastore,
    hooks::{self, When},
    session::Session,
};

mod cleanup;
mod commit;
mod freeze;
mod leave_out;
mod memory;
mod power;
mod preflight;
mod read;
mod reap;
mod resolve;
mod snapshot;

pub(crate) use commit::{directory, job_tag};

/// What to back up, from where, to where.
pub(crate) struct BackupSpec {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    /// name-label or uuid.
    pub(crate) vm: String,
    pub(crate) transport: Option<Transport>,
    pub(crate) backup_type: BackupType,
    pub(crate) options: BackupOptions,
}

/// Backs up one VM; the point is listed when, and only when, this succeeds.
pub(crate) async fn back_up(cx: &JobContext, spec: &BackupSpec) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, &spec.datastore).await?;
    cx.info(format!("datastore {} opened at {}", spec.datastore.name, Path::new(&spec.datastore.path).display()));
    let session = Session::open(cx, &spec.client, spec.transport.or(spec.options.transport)).await?;
    let done = Box::pin(with_pool(cx, spec, &repo, &session)).await;
    session.close().await;
    done
}

async fn with_pool(cx: &JobContext, spec: &BackupSpec, repo: &Repo, session: &Session) -> Result<JobResult, Stop> {
    let vm = resolve::resolve(cx, session, &spec.vm).await?;
    cx.info(format!("backup type {}, consistency {}", spec.backup_type, spec.options.consistency));
    if spec.backup_type != BackupType::Copy {
        cx.info("everything is read in one stream, and what the datastore does not have is stored");
    }
    let (left_out, places) = preflight::check(cx, session, &vm, &spec.options).await?;
    cx.occupy(&places).await?;
    reap::reap(cx, session, &vm).await?;
    let mut about = about(cx, spec, &vm.1);
    let point = async {
        if let Some(hook) = &spec.options.before {
            cx.step("before");
            hooks::run(cx, hook, When::Before, &about).await?;
        }
        Box::pin(snapshot_and_read(cx, spec, repo, session, &vm, left_out)).await
    }
    .await;
    if let Some(hook) = &spec.options.after {
        cx.step("after");
        about.extend(outcome(&point));
        // What comes after a backup does not unmake it.
        match hooks::run(cx, hook, When::After, &about).await {
            Err(Stop::Problem(problem)) => cx.warn(*problem),
            Ok(()) | Err(Stop::Cancelled) => {}
        }
    }
    point.map(|point| JobResult::Point { point })
}

async fn snapshot_and_read(
    cx: &JobContext,
    spec: &BackupSpec,
    repo: &Repo,
    session: &Session,
    vm: &(VmRef, Vm),
    left_out: leave_out::LeftOut,
) -> Result<Point, Stop> {
    let snapshot = Box::pin(snapshot::take(cx, session, vm, &spec.options, left_out)).await?;
    let point = async {
        let read = read::read(cx, spec, repo, session, &snapshot).await?;
        commit::commit(cx, spec, session, &snapshot, read).await
    }
    .await;
    cleanup::clean(cx, session, snapshot).await;
    point
}

/// What a command is told of the job. No secrets.
fn about(cx: &JobContext, spec: &BackupSpec, vm: &Vm) -> Vec<(&'static str, String)> {
    vec![
        ("XENKEEP_JOB", cx.job.to_string()),
        ("XENKEEP_TASK", cx.task.clone().unwrap_or_default()),
        ("XENKEEP_CLIENT", spec.client.name.clone()),
        ("XENKEEP_VM", vm.name_label.clone()),
        ("XENKEEP_VM_UUID", vm.uuid.clone()),
        ("XENKEEP_DATASTORE", spec.datastore.name.clone()),
        ("XENKEEP_BACKUP_TYPE", spec.backup_type.to_string()),
        ("XENKEEP_CONSISTENCY", spec.options.consistency.to_string()),
    ]
}

/// How the backup went, for the command that runs after it.
fn outcome(point: &Result<Point, Stop>) -> Vec<(&'static str, String)> {
    match point {
        Ok(point) => vec![("XENKEEP_RESULT", "success".to_owned()), ("XENKEEP_POINT", point.id.clone())],
        Err(Stop::Cancelled) => vec![("XENKEEP_RESULT", "cancelled".to_owned())],
        Err(Stop::Problem(problem)) => {
            vec![("XENKEEP_RESULT", "failed".to_owned()), ("XENKEEP_PROBLEM", problem.code.clone())]
        }
    }
}
