//! Restore of one VM: beside whatever is there, or over the original.
//!
//! Both import the VM so that nothing that stands is touched until all of it has arrived and was checked. Until the very
//! end it bears the job's mark; taking the mark off is the moment from which on it is the administrator's.

use xapi::VmRef;
use xenkeep_api::{ClientAccess, DatastoreAccess, JobResult, Placement, RestoredVm, Transport};

use crate::{
    context::{JobContext, Stop},
    open::OpenPoint,
    session::{OrStop, Session},
    sr,
};

mod beside;
mod import;
mod overwrite;
mod start;
mod swap;

pub(crate) use swap::{Ending, settle};

/// What to restore, to where.
pub(crate) struct RestoreSpec {
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    /// Full id of the point.
    pub(crate) point: String,
    pub(crate) placement: Placement,
    /// name-label or uuid.
    pub(crate) sr: Option<String>,
    pub(crate) start: bool,
    pub(crate) transport: Option<Transport>,
}

/// Restores one VM.
pub(crate) async fn restore(cx: &JobContext, spec: &RestoreSpec) -> Result<JobResult, Stop> {
    cx.step("open");
    let point = OpenPoint::open(cx, &spec.datastore, &spec.point).await?;
    cx.info(format!("point of VM {} ({}), taken at {}", point.file.vm.name, point.file.vm.id, point.file.taken_at));
    let session = Session::open(cx, &spec.client, spec.transport).await?;
    let done = with_pool(cx, spec, &point, &session).await;
    session.close().await;
    done.map(|vm| JobResult::Vm { vm })
}

async fn with_pool(
    cx: &JobContext,
    spec: &RestoreSpec,
    point: &OpenPoint,
    session: &Session,
) -> Result<RestoredVm, Stop> {
    cx.step("preflight");
    let chosen = cx.or_cancelled(sr::choose(session, spec.sr.as_deref(), &point.file.disks)).await?;
    cx.info(format!("disks go to SR {}", chosen.name));
    let vm = match &spec.placement {
        Placement::Beside { name } => Box::pin(beside::restore(cx, session, point, name, &chosen)).await?,
        Placement::Overwrite => Box::pin(overwrite::restore(cx, session, point, &chosen)).await?,
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
