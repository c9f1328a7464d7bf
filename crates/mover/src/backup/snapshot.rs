//! The snapshot: journal first, then made, then marked; and what the pool says of the VM at that moment.

use serde_json::Value;
use uuid::Uuid;
use xapi::{
    Ref, VbdRef, VdiRef, VmRef, params,
    record::{Sr, Vbd, VbdType, Vdi, Vm},
};
use xenkeep_api::Problem;

use crate::{
    context::{JobContext, Stop},
    journal::{Made, SnapshotMade},
    point::Records,
    session::{OrStop, Session},
    tag, undo,
};

/// A snapshot that stands.
pub(super) struct Snapshot {
    pub(super) entry: Uuid,
    pub(super) made: SnapshotMade,
    pub(super) snapshot: VmRef,
    /// Record of the snapshot.
    pub(super) record: Vm,
    /// Record of the VM.
    pub(super) vm: Vm,
    pub(super) disks: Vec<SnapshotDisk>,
    pub(super) records: Records,
}

/// A disk of the snapshot.
#[derive(Debug, Clone)]
pub(super) struct SnapshotDisk {
    pub(super) position: String,
    pub(super) bootable: bool,
    pub(super) name: String,
    pub(super) size_bytes: u64,
    /// uuid of the snapshot's VDI.
    pub(super) snapshot_uuid: String,
    /// uuid of the VM's VDI.
    pub(super) original_uuid: String,
}

/// Makes a snapshot of the VM. If this fails, nothing is left of it.
pub(super) async fn take(cx: &JobContext, session: &Session, vm: &(VmRef, Vm)) -> Result<Snapshot, Stop> {
    cx.step("snapshot");
    cx.check()?;
    let mut made = SnapshotMade {
        job: cx.job,
        vm_uuid: vm.1.uuid.clone(),
        name: tag::label(cx.job),
        vdis: Vec::new(),
        tasks: Vec::new(),
    };
    let entry = cx.journal.write(&Made::Snapshot(made.clone())).await?;
    match make(cx, session, vm, entry, &mut made).await {
        Ok(snapshot) => Ok(snapshot),
        Err(stop) => {
            undo::or_warn(cx, "the snapshot", undo::snapshot(cx, session, made, Some(entry)).await);
            Err(stop)
        }
    }
}

async fn make(
    cx: &JobContext,
    session: &Session,
    (vm_ref, vm): &(VmRef, Vm),
    entry: Uuid,
    made: &mut SnapshotMade,
) -> Result<Snapshot, Stop> {
    let pool = &session.pool;
    let task = pool.vm_snapshot(vm_ref, &made.name, &[]).await.or_stop(session)?;
    made.tasks.push(task.to_string());
    cx.journal.rewrite(entry, &Made::Snapshot(made.clone())).await?;
    let result = pool.task(task).wait(&cx.cancel, |_| {}).await.or_stop(session)?;
    cx.check()?;
    let Some(snapshot) = result.reference::<VmRef>() else {
        return Err(Problem::new("pool.error", "the pool made a snapshot, but does not say which").into());
    };
    for (key, value) in tag::tags(cx.job, session.client.id, "backup") {
        pool.set_other_config(&snapshot, key, &value).await.or_stop(session)?;
    }
    let record: Vm = pool.record(&snapshot).await.or_stop(session)?;
    let disks = disks(cx, session, &record).await?;
    made.vdis = disks.iter().map(|disk| disk.snapshot_uuid.clone()).collect();
    made.tasks.clear();
    cx.journal.rewrite(entry, &Made::Snapshot(made.clone())).await?;
    let records = cx.or_cancelled(records(session, vm_ref, vm)).await?;
    cx.info(format!("snapshot {} made, {} disk(s)", record.name_label, disks.len()));
    let made = made.clone();
    Ok(Snapshot { entry, made, snapshot, record, vm: vm.clone(), disks, records })
}

/// The disks of the snapshot, marked as ours.
async fn disks(cx: &JobContext, session: &Session, snapshot: &Vm) -> Result<Vec<SnapshotDisk>, Stop> {
    let pool = &session.pool;
    let mut disks = Vec::new();
    for vbd in &snapshot.vbds {
        let vbd: Vbd = pool.record(vbd).await.or_stop(session)?;
        if vbd.kind != VbdType::Disk || vbd.vdi.is_null() {
            continue;
        }
        let vdi: Vdi = pool.record(&vbd.vdi).await.or_stop(session)?;
        let sr: Sr = pool.record(&vdi.sr).await.or_stop(session)?;
        // An ISO that stands in a disk's place is not snapshotted, and not ours.
        if !vdi.is_a_snapshot || !sr.holds_disks() {
            continue;
        }
        for (key, value) in tag::tags(cx.job, session.client.id, "backup") {
            pool.set_other_config(&vbd.vdi, key, &value).await.or_stop(session)?;
        }
        let original = if vdi.snapshot_of.is_null() {
            String::new()
        } else {
            pool.record::<Vdi>(&vdi.snapshot_of).await.or_stop(session)?.uuid
        };
        disks.push(SnapshotDisk {
            position: vbd.userdevice,
            bootable: vbd.bootable,
            size_bytes: vdi.virtual_bytes(),
            snapshot_uuid: vdi.uuid,
            original_uuid: original,
            name: vdi.name_label,
        });
    }
    disks.sort_by_key(|disk| (disk.position.parse().unwrap_or(u32::MAX), disk.position.clone()));
    Ok(disks)
}

/// XAPI's own records of the VM and of what belongs to it.
async fn records(session: &Session, vm_ref: &VmRef, vm: &Vm) -> Result<Records, Stop> {
    let mut records = Records { vm: raw(session, vm_ref).await?, ..Records::default() };
    let mut vdis: Vec<VdiRef> = Vec::new();
    for vbd in &vm.vbds {
        let vbd: &VbdRef = vbd;
        let record = raw(session, vbd).await?;
        if let Some(vdi) = record["VDI"].as_str().map(VdiRef::from).filter(|vdi| !vdi.is_null()) {
            vdis.push(vdi);
        }
        records.vbds.push(record);
    }
    for vdi in &vdis {
        records.vdis.push(raw(session, vdi).await?);
    }
    let mut networks = Vec::new();
    for vif in &vm.vifs {
        let record = raw(session, vif).await?;
        if let Some(network) = record["network"].as_str().map(xapi::NetworkRef::from)
            && !network.is_null()
            && !networks.contains(&network)
        {
            networks.push(network);
        }
        records.vifs.push(record);
    }
    for network in &networks {
        records.networks.push(raw(session, network).await?);
    }
    Ok(records)
}

async fn raw<R: Ref>(session: &Session, reference: &R) -> Result<Value, Stop> {
    session.pool.call(&format!("{}.get_record", R::CLASS), params![reference]).await.or_stop(session)
}
