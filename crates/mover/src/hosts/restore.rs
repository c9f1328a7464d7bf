//! Putting a host's backup on its backup partition.

use xapi::record::Host;
use xenkeep_api::{
    ClientAccess, DatastoreAccess, HostRestored, HostSummary, JobResult, PointKind, PointSummary, Problem, Transport,
};

use super::{alive, choose};
use crate::{
    context::{JobContext, Stop},
    session::{OrStop, Session},
    streamed::{self, StreamedPoint},
};

/// What to put back, and where.
pub(crate) struct HostRestore {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    /// Full id of the point.
    pub(crate) point: String,
    /// name-label or uuid.
    pub(crate) host: String,
    /// Also if product or version differ.
    pub(crate) force: bool,
    pub(crate) transport: Option<Transport>,
}

/// Compares the release of host and backup, then sends the backup to the host.
pub(crate) async fn restore(cx: &JobContext, spec: &HostRestore) -> Result<JobResult, Stop> {
    cx.step("open");
    let point = StreamedPoint::open(cx, &spec.datastore, &spec.point, Some(PointKind::Host)).await?;
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = async {
        let entry = streamed::announce(cx).await?;
        let done = Box::pin(send(cx, spec, &point, &session)).await;
        streamed::tidy(cx, &session, entry).await;
        done
    };
    let done = done.await;
    session.close().await;
    done.map(|restored| JobResult::HostRestored { restored })
}

async fn send(
    cx: &JobContext,
    spec: &HostRestore,
    point: &StreamedPoint,
    session: &Session,
) -> Result<HostRestored, Stop> {
    cx.step("check");
    let hosts = cx.or_cancelled(choose(session, Some(&spec.host))).await?;
    let Some((reference, host)) = hosts.into_iter().next() else {
        return Err(Problem::new("internal", "no host was chosen").into());
    };
    alive(session, &host).await?;
    let source = point.file.source();
    cx.info(format!("backup of host {} ({}), taken at {}", source.name, source.id, point.file.taken_at));
    if host.uuid != source.id {
        cx.note(format!("host {} is another one than that of the backup, {}", host.name_label, source.name));
    }
    if let Some(problem) = differs(point, &host) {
        if !spec.force {
            return Err(problem.into());
        }
        cx.warn(problem);
    }
    cx.step("restore");
    let task = streamed::task(cx, session, "host restore").await?;
    let begun = async { session.pool.host_restore(&reference, point.file.size_bytes, task).await.or_stop(session) };
    let upload = cx.or_cancelled(begun).await?;
    cx.info(format!("host {} formats its backup partition and takes the backup", host.name_label));
    point.send(cx, session, upload).await?;
    Ok(HostRestored { steps: steps(&host.name_label), uuid: host.uuid, name: host.name_label })
}

/// Why the backup does not fit the host.
fn differs(point: &StreamedPoint, host: &Host) -> Option<Problem> {
    let unknown = HostSummary::default();
    let backup = match &point.file.summary {
        Some(PointSummary::Host(summary)) => summary,
        _ => &unknown,
    };
    let of_host = |key: &str| host.software_version.get(key).map_or("", String::as_str);
    let (product, version) = (of_host("product_brand"), of_host("product_version"));
    if backup.product == product && backup.version == version {
        return None;
    }
    let problem = Problem::new(
        "host.version_differs",
        format!(
            "the backup is of {} {}, host {} runs {product} {version}",
            backup.product, backup.version, host.name_label
        ),
    );
    Some(problem.hint("restore to a host of the same release, or with --force").about(&host.uuid))
}

fn steps(name: &str) -> Vec<String> {
    vec![
        format!("the backup lies on the backup partition of {name}; the running system is unchanged"),
        format!("at the console of {name}: boot from the installation medium of the same release"),
        "choose \"Restore from backup\", and the backup that it finds on the disk".to_owned(),
        "restart from the disk; if the host was the master and the pool's database is lost, then: `xe \
         pool-restore-database file-name=…` with a point of meta-data, or with the file in /var/backup"
            .to_owned(),
    ]
}
