//! Restore of one VM: beside whatever is there, or over the original.
//!
//! Both import the VM so that nothing that stands is touched until all of it has arrived and was checked. Until the very
//! end it bears the job's mark; taking the mark off is the moment from which on it is the administrator's.

use xapi::VmRef;
use xenkeep_api::{ClientAccess, DatastoreAccess, JobResult, Placement, Problem, RestorePlaces, RestoredVm, Transport};

use crate::{
    context::{JobContext, Stop},
    open::OpenPoint,
    session::{OrStop, Session},
};

mod beside;
mod carrier;
mod doomed;
mod import;
mod networks;
mod overwrite;
mod plan;
mod start;
mod swap;
mod versions;

pub(crate) use swap::{Ending, settle};

/// What to restore, to where.
pub(crate) struct RestoreSpec {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    /// Full id of the point.
    pub(crate) point: String,
    pub(crate) placement: Placement,
    /// SRs and networks.
    pub(crate) places: RestorePlaces,
    pub(crate) start: bool,
    pub(crate) transport: Option<Transport>,
}

/// Restores one VM.
pub(crate) async fn restore(cx: &JobContext, spec: &RestoreSpec) -> Result<JobResult, Stop> {
    cx.step("open");
    let point = open(cx, spec).await?;
    cx.info(format!(
        "point of VM {} ({}), taken at {}",
        point.file.source().name,
        point.file.source().id,
        point.file.taken_at
    ));
    say_left_out(cx, &point);
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = with_pool(cx, spec, &point, &session).await;
    session.close().await;
    done.map(|vm| JobResult::Vm { vm })
}

/// Says what a restore would do, and does none of it.
pub(crate) async fn plan(cx: &JobContext, spec: &RestoreSpec) -> Result<JobResult, Stop> {
    cx.step("open");
    let point = open(cx, spec).await?;
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let planned = cx.or_cancelled(plan::make(cx, &session, spec, &point)).await;
    session.close().await;
    let plan = planned?.plan;
    for refusal in &plan.refusals {
        cx.note(refusal.message.clone());
    }
    Ok(JobResult::RestorePlan { plan: Box::new(plan) })
}

/// The point, without its memory if that is not wanted.
async fn open(cx: &JobContext, spec: &RestoreSpec) -> Result<OpenPoint, Stop> {
    let mut point = OpenPoint::open(cx, &spec.datastore, &spec.point).await?;
    if spec.places.without_memory {
        point.leave_memory();
    }
    Ok(point)
}

/// The VM will lack what its backup has left out.
fn say_left_out(cx: &JobContext, point: &OpenPoint) {
    for disk in &point.file.left_out {
        let (position, name, vm) = (&disk.position, &disk.name, &point.file.source().name);
        let text = format!("disk {position} ({name}) of VM {vm} is not in the point: its backup left it out");
        let hint = format!("rule {}; make a new disk, or take it from elsewhere", disk.reason);
        cx.warn(Problem::new("restore.disk_left_out", text).hint(hint).about(&disk.vdi_uuid));
    }
}

async fn with_pool(
    cx: &JobContext,
    spec: &RestoreSpec,
    point: &OpenPoint,
    session: &Session,
) -> Result<RestoredVm, Stop> {
    let planned = cx.or_cancelled(plan::make(cx, session, spec, point)).await?;
    if let Some((first, others)) = planned.plan.refusals.split_first() {
        for other in others {
            cx.error(other.message.clone());
        }
        return Err(first.clone().into());
    }
    for warning in &planned.plan.warnings {
        cx.warn(warning.clone());
    }
    for (sr, positions) in planned.layout.groups() {
        cx.info(format!("disks {} go to SR {}", positions.join(", "), sr.name));
    }
    let vm = match &spec.placement {
        Placement::Beside { name } => Box::pin(beside::restore(cx, session, point, name, &planned)).await?,
        Placement::Overwrite { .. } => Box::pin(overwrite::restore(cx, session, point, &planned)).await?,
    };
    let mut addresses = Vec::new();
    if spec.start {
        addresses = start::start(cx, session, &vm).await;
    }
    describe(session, &vm, addresses).await
}

async fn describe(session: &Session, vm: &VmRef, addresses: Vec<String>) -> Result<RestoredVm, Stop> {
    let record = session.pool.vm(vm).await.or_stop(session)?;
    Ok(RestoredVm {
        uuid: record.uuid,
        name: record.name_label,
        power_state: crate::inventory::power_state(&record.power_state),
        addresses,
    })
}
