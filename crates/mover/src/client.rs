//! Clients: what a pool says of itself, and which VMs it has.

use std::collections::HashMap;

use xapi::record::{Host, Sr, Vbd, VbdType, Vdi, Vm, VmGuestMetrics};
use xapi::{SrRef, VbdRef, VdiRef, VmGuestMetricsRef, VmRef};
use xenkeep_api::{ClientAccess, JobResult, PoolDisk, PoolSummary, PoolVm, PowerState};

use crate::{
    context::{JobContext, Stop},
    session::{OrStop, Session},
};

/// Logs in to a client's pool and says what it is.
pub(crate) async fn check(cx: &JobContext, client: &ClientAccess) -> Result<JobResult, Stop> {
    cx.step("check");
    let session = Session::open(cx, client, None).await?;
    let summary = cx.or_cancelled(summary(&session)).await;
    session.close().await;
    let pool = summary?;
    cx.info(format!("{} of {} host(s), {}", pool.name, pool.hosts, pool.product));
    Ok(JobResult::Pool { pool })
}

/// What the pool says of itself.
pub(crate) async fn summary(session: &Session) -> Result<PoolSummary, Stop> {
    let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
    let hosts = session.pool.records::<Host>().await.or_stop(session)?;
    let master = hosts.get(&pool.master);
    let master_name = master.map(|host| host.name_label.clone()).unwrap_or_default();
    Ok(PoolSummary {
        uuid: pool.uuid,
        name: if pool.name_label.is_empty() { master_name.clone() } else { pool.name_label },
        master: master_name,
        product: master.map(Host::product).unwrap_or_default(),
        hosts: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        certificate_sha256: session.pool.certificate().map(|certificate| certificate.to_string()),
        host_addresses: hosts.values().map(|host| host.address.clone()).filter(|address| !address.is_empty()).collect(),
    })
}

/// Lists the VMs of a client's pool.
pub(crate) async fn list_vms(cx: &JobContext, client: &ClientAccess) -> Result<JobResult, Stop> {
    cx.step("list");
    let session = Session::open(cx, client, None).await?;
    let vms = cx.or_cancelled(vms(&session)).await;
    session.close().await;
    Ok(JobResult::Vms { vms: vms? })
}

/// Everything that a list of VMs needs, read in one go.
struct Inventory {
    vbds: HashMap<VbdRef, Vbd>,
    vdis: HashMap<VdiRef, Vdi>,
    srs: HashMap<SrRef, Sr>,
    guests: HashMap<VmGuestMetricsRef, VmGuestMetrics>,
}

async fn vms(session: &Session) -> Result<Vec<PoolVm>, Stop> {
    let pool = &session.pool;
    let all: HashMap<VmRef, Vm> = pool.records().await.or_stop(session)?;
    let inventory = Inventory {
        vbds: pool.records().await.or_stop(session)?,
        vdis: pool.records().await.or_stop(session)?,
        srs: pool.records().await.or_stop(session)?,
        guests: pool.records().await.or_stop(session)?,
    };
    let mut vms: Vec<PoolVm> =
        all.into_values().filter(|vm| vm.is_backup_source() && !vm.is_a_template).map(|vm| inventory.vm(vm)).collect();
    vms.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    Ok(vms)
}

impl Inventory {
    fn vm(&self, vm: Vm) -> PoolVm {
        let mut disks: Vec<PoolDisk> = vm.vbds.iter().filter_map(|vbd| self.disk(vbd)).collect();
        disks.sort_by_key(|disk| (disk.position.parse().unwrap_or(u32::MAX), disk.position.clone()));
        PoolVm {
            power_state: power_state(&vm.power_state),
            tools: self.guests.get(&vm.guest_metrics).is_some_and(|guest| guest.pv_drivers_detected),
            disks,
            uuid: vm.uuid,
            name: vm.name_label,
            tags: vm.tags,
        }
    }

    fn disk(&self, vbd: &VbdRef) -> Option<PoolDisk> {
        let vbd = self.vbds.get(vbd).filter(|vbd| vbd.kind == VbdType::Disk)?;
        let vdi = self.vdis.get(&vbd.vdi)?;
        Some(PoolDisk {
            position: vbd.userdevice.clone(),
            vdi_uuid: vdi.uuid.clone(),
            name: vdi.name_label.clone(),
            size_bytes: vdi.virtual_bytes(),
            sr: self.srs.get(&vdi.sr).map(|sr| sr.name_label.clone()).unwrap_or_default(),
        })
    }
}

/// XAPI's power state as the API has it; an unknown one counts as running, which forbids most.
pub(crate) fn power_state(state: &xapi::record::PowerState) -> PowerState {
    match state {
        xapi::record::PowerState::Halted => PowerState::Halted,
        xapi::record::PowerState::Paused => PowerState::Paused,
        xapi::record::PowerState::Suspended => PowerState::Suspended,
        _ => PowerState::Running,
    }
}
