//! Control domains of hosts: backed up as they come, and put on the hosts' backup partitions.

use std::{collections::HashMap, sync::Arc};

use xapi::{
    HostMetricsRef, HostRef,
    record::{Host, HostMetrics},
};
use xenkeep_api::{ClientAccess, DatastoreAccess, JobResult, Point, PointKind, PointSummary, Problem, Transport};
use xenkeep_repo::{Counters, Repo};

use crate::{
    context::{JobContext, Stop},
    datastore, inventory,
    point::{Named, PoolFile},
    session::{OrStop, Session},
    streamed::{self, Source},
};

mod archive;
mod restore;
mod tar;

pub(crate) use restore::{HostRestore, restore};

/// What to back up, from where, to where.
pub(crate) struct HostBackup {
    pub(crate) client: ClientAccess,
    /// name-label or uuid; none is every host.
    pub(crate) host: Option<String>,
    pub(crate) datastore: DatastoreAccess,
    pub(crate) transport: Option<Transport>,
}

/// Backs up hosts, one after the other. One that fails does not keep the others from being backed up.
pub(crate) async fn back_up(cx: &JobContext, spec: &HostBackup) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, &spec.datastore).await?;
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = async {
        let entry = streamed::announce(cx).await?;
        let done = Box::pin(each(cx, spec, &repo, &session)).await;
        streamed::tidy(cx, &session, entry).await;
        done
    };
    let done = done.await;
    session.close().await;
    done.map(|points| JobResult::Points { points })
}

async fn each(cx: &JobContext, spec: &HostBackup, repo: &Repo, session: &Session) -> Result<Vec<Point>, Stop> {
    let hosts = cx.or_cancelled(choose(session, spec.host.as_deref())).await?;
    let pool = cx.or_cancelled(inventory::pool_file(session)).await?;
    let counters = Arc::new(Counters::default());
    cx.board.watch_store(Arc::clone(&counters));
    let (mut points, mut failures, count) = (Vec::new(), Vec::new(), hosts.len());
    for (reference, host) in hosts {
        let name = host.name_label.clone();
        let source = source(pool.clone(), &host);
        let done = one(cx, (spec, repo), session, (source, &counters), (reference, host)).await;
        match done {
            Ok(point) => {
                points.push(point);
                let so_far = points.clone();
                cx.so_far(|result| *result = Some(JobResult::Points { points: so_far }));
            }
            Err(Stop::Problem(problem)) if count > 1 => {
                cx.error(format!("host {name}: {}", problem.message));
                failures.push((name, problem));
            }
            Err(stop) => return Err(stop),
        }
    }
    match failures.first() {
        None => Ok(points),
        Some((_, first)) => Err(incomplete(&failures, count).hint(first.hint.clone().unwrap_or_default()).into()),
    }
}

fn source(pool: PoolFile, host: &Host) -> Source {
    Source {
        kind: PointKind::Host,
        name: Named { id: host.uuid.clone(), name: host.name_label.clone() },
        what: format!("the backup of host {}", host.name_label),
        pool,
    }
}

fn incomplete(failures: &[(String, Box<Problem>)], count: usize) -> Problem {
    let failed: Vec<String> = failures.iter().map(|(name, problem)| format!("{name}: {}", problem.message)).collect();
    Problem::new(
        "hosts.incomplete",
        format!("{} of {count} hosts could not be backed up: {}", failures.len(), failed.join("; ")),
    )
}

async fn one(
    cx: &JobContext,
    (spec, repo): (&HostBackup, &Repo),
    session: &Session,
    (source, counters): (Source, &Arc<Counters>),
    (reference, host): (HostRef, Host),
) -> Result<Point, Stop> {
    cx.step("read");
    alive(session, &host).await?;
    let task = streamed::task(cx, session, "host backup").await?;
    let begun = async { session.pool.host_backup(&reference, task).await.or_stop(session) };
    let download = cx.or_cancelled(begun).await?;
    cx.info(format!("reading {} from {}", source.what, download.address()));
    let at = (&spec.datastore, repo);
    let (stored, summary) = streamed::store(cx, session, at, (&source, counters), download, archive::read).await?;
    cx.step("commit");
    cx.info(format!("{} {}, {} files", summary.product, summary.version, summary.files));
    let summary = PointSummary::Host(summary);
    streamed::commit(cx, session, &spec.datastore, (source, counters), stored, summary).await
}

/// The hosts that are meant, by name.
async fn choose(session: &Session, wanted: Option<&str>) -> Result<Vec<(HostRef, Host)>, Stop> {
    let all: HashMap<HostRef, Host> = session.pool.records().await.or_stop(session)?;
    let mut hosts: Vec<(HostRef, Host)> = all.into_iter().collect();
    hosts.sort_by(|(_, a), (_, b)| (&a.name_label, &a.uuid).cmp(&(&b.name_label, &b.uuid)));
    match wanted {
        None => Ok(hosts),
        Some(wanted) => named(session, hosts, wanted).map(|host| vec![host]),
    }
}

fn named(session: &Session, hosts: Vec<(HostRef, Host)>, wanted: &str) -> Result<(HostRef, Host), Stop> {
    let names: Vec<String> = hosts.iter().map(|(_, host)| host.name_label.clone()).collect();
    let is_meant = |host: &Host| host.uuid.eq_ignore_ascii_case(wanted) || host.name_label == wanted;
    let mut found = hosts.into_iter().filter(|(_, host)| is_meant(host));
    let pool = &session.client.name;
    match (found.next(), found.next()) {
        (Some(host), None) => Ok(host),
        (None, _) => Err(Problem::new("host.not_found", format!("pool {pool} has no host {wanted:?}"))
            .hint(format!("its hosts are: {}", names.join(", ")))
            .about(wanted)
            .into()),
        _ => Err(Problem::new("host.name_ambiguous", format!("pool {pool} has several hosts called {wanted:?}"))
            .hint("name the host by its uuid")
            .about(wanted)
            .into()),
    }
}

/// Each host is asked itself, so it must be up.
async fn alive(session: &Session, host: &Host) -> Result<(), Stop> {
    let metrics: HashMap<HostMetricsRef, HostMetrics> = session.pool.records().await.or_stop(session)?;
    match metrics.get(&host.metrics) {
        Some(metrics) if !metrics.live => Err(Problem::new(
            "host.not_live",
            format!("host {} is down, or the master does not hear from it", host.name_label),
        )
        .hint("start the host, then start the job again")
        .about(&host.uuid)
        .into()),
        _ => Ok(()),
    }
}
