//! A pool's own database: backed up as it comes, and put back.

use std::sync::Arc;

use xenkeep_api::{
    ClientAccess, DatastoreAccess, JobResult, MetaDataRestored, PointKind, PointSummary, Problem, Transport,
};
use xenkeep_repo::Counters;

use crate::{
    context::{JobContext, Stop},
    datastore,
    inventory::{self, Hosts},
    point::Named,
    session::{OrStop, Session},
    streamed::{self, Source, StreamedPoint},
};

mod dump;

/// What to back up, from where, to where.
pub(crate) struct MetaDataBackup {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    pub(crate) transport: Option<Transport>,
}

/// Backs up the database of a pool.
pub(crate) async fn back_up(cx: &JobContext, spec: &MetaDataBackup) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, &spec.datastore).await?;
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = async {
        let entry = streamed::announce(cx).await?;
        let done = Box::pin(read(cx, spec, &repo, &session)).await;
        streamed::tidy(cx, &session, entry).await;
        done
    };
    let done = done.await;
    session.close().await;
    done
}

async fn read(
    cx: &JobContext,
    spec: &MetaDataBackup,
    repo: &xenkeep_repo::Repo,
    session: &Session,
) -> Result<JobResult, Stop> {
    cx.step("read");
    let pool = cx.or_cancelled(inventory::pool_file(session)).await?;
    let counters = Arc::new(Counters::default());
    cx.board.watch_store(Arc::clone(&counters));
    let source = Source {
        kind: PointKind::MetaData,
        name: Named { id: pool.uuid.clone(), name: pool.name.clone() },
        what: format!("the database of pool {}", pool.name),
        pool,
    };
    let task = streamed::task(cx, session, "database").await?;
    let begun = async { session.pool.dump_database(task).await.or_stop(session) };
    let download = cx.or_cancelled(begun).await?;
    cx.info(format!("reading {} from {}", source.what, download.address()));
    let at = (&spec.datastore, repo);
    let (stored, summary) = streamed::store(cx, session, at, (&source, &counters), download, dump::read).await?;
    cx.step("commit");
    cx.info(format!(
        "schema {}, {} host(s), {} SR(s), {} network(s), {} VM(s)",
        summary.schema,
        summary.hosts.len(),
        summary.srs.len(),
        summary.networks.len(),
        summary.vms.len()
    ));
    let summary = PointSummary::MetaData(summary);
    let point = streamed::commit(cx, session, &spec.datastore, (source, &counters), stored, summary).await?;
    Ok(JobResult::Point { point })
}

/// What to put back, and where.
pub(crate) struct MetaDataRestore {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    /// Full id of the point.
    pub(crate) point: String,
    pub(crate) dry_run: bool,
    pub(crate) transport: Option<Transport>,
}

/// Has the pool look at the database, and then, if that is wanted, replace its own by it.
pub(crate) async fn restore(cx: &JobContext, spec: &MetaDataRestore) -> Result<JobResult, Stop> {
    cx.step("open");
    let point = StreamedPoint::open(cx, &spec.datastore, &spec.point, Some(PointKind::MetaData)).await?;
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = async {
        let entry = streamed::announce(cx).await?;
        let done = Box::pin(send_twice(cx, spec, &point, &session)).await;
        streamed::tidy(cx, &session, entry).await;
        done
    };
    let done = done.await;
    session.close().await;
    done.map(|restored| JobResult::MetaDataRestored { restored })
}

async fn send_twice(
    cx: &JobContext,
    spec: &MetaDataRestore,
    point: &StreamedPoint,
    session: &Session,
) -> Result<MetaDataRestored, Stop> {
    let pool = cx.or_cancelled(async { Hosts::of(session).await?.summary(session).await }).await?;
    let source = point.file.source();
    cx.info(format!("database of pool {} ({}), taken at {}", source.name, source.id, point.file.taken_at));
    if pool.uuid != source.id {
        cx.note(format!("pool {} is another one than that of the backup, {}", pool.name, source.name));
    }
    cx.step("check");
    send(cx, point, session, &pool.product, true).await?;
    cx.info(format!("pool {} would take the database", pool.name));
    if !spec.dry_run {
        cx.step("restore");
        cx.check()?;
        send(cx, point, session, &pool.product, false).await?;
        cx.info(format!("pool {} has taken the database; its master {} restarts", pool.name, pool.master));
    }
    let steps = if spec.dry_run { Vec::new() } else { steps(&pool.master, pool.hosts) };
    Ok(MetaDataRestored { dry_run: spec.dry_run, master: pool.master, steps })
}

async fn send(cx: &JobContext, point: &StreamedPoint, session: &Session, product: &str, dry: bool) -> Result<(), Stop> {
    let explain = |stop: Stop| match stop {
        Stop::Problem(problem) if problem.code == "pool.schema_differs" => schema_differs(point, product).into(),
        stop => stop,
    };
    let task = streamed::task(cx, session, if dry { "database check" } else { "database restore" }).await?;
    let begun = async { session.pool.restore_database(point.file.size_bytes, dry, task).await.or_stop(session) };
    let upload = cx.or_cancelled(begun).await?;
    point.send(cx, session, upload).await.map_err(explain)
}

fn schema_differs(point: &StreamedPoint, product: &str) -> Problem {
    let (schema, of) = match &point.file.summary {
        Some(PointSummary::MetaData(summary)) => (summary.schema.as_str(), summary.product.as_str()),
        _ => ("unknown", ""),
    };
    Problem::new(
        "pool.schema_differs",
        format!("the database has schema {schema} (of {of}); the pool, {product}, has another one"),
    )
    .hint(
        "install the release from which the backup was taken on the master, with the same updates, then restore again",
    )
}

fn steps(master: &str, hosts: u32) -> Vec<String> {
    let mut steps = vec![format!("{master} restarts within a minute and comes back with the restored database")];
    if hosts > 1 {
        steps.push(format!(
            "the {} member(s) were forgotten: reinstall them, or on each `xe pool-join master-address=… \
             master-username=root master-password=…`",
            hosts - 1
        ));
    }
    steps.push(
        "look at the storage: `xe pbd-list currently-attached=false`, then `xe pbd-plug uuid=…` for each".to_owned(),
    );
    steps.push("start the VMs: none of them runs after the restart".to_owned());
    steps
}
