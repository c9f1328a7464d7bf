//! The snapshot: journal first, then made ([`freeze`]), then marked; and what the pool says of the VM at that moment.

use serde_json::Value;
use uuid::Uuid;
use xapi::{
    NetworkRef, Ref, VdiRef, VmRef, params,
    record::{Sr, Vbd, VbdType, Vdi, Vm},
};
use xenkeep_api::{BackupOptions, Consistency, LeftOutDisk, PointConsistency, Problem};

use super::{
    freeze::{Frozen, Maker},
    leave_out::LeftOut,
    power,
};
use crate::{
    context::{JobContext, Stop},
    journal::{Made, SnapshotMade},
    point::{MEMORY, Records},
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
    /// The image of the VM's memory, at position [`MEMORY`]: read like a disk, but none of the VM's.
    pub(super) memory: Option<SnapshotDisk>,
    pub(super) records: Records,
    pub(super) left_out: Vec<LeftOutDisk>,
    pub(super) consistency: PointConsistency,
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

impl Snapshot {
    /// All that is read: the disks, and the memory.
    pub(super) fn images(&self) -> impl Iterator<Item = &SnapshotDisk> {
        self.disks.iter().chain(&self.memory)
    }
}

/// Makes a snapshot of the VM as `options` say. If this fails, nothing is left of it, and a VM that ran runs.
pub(super) async fn take(
    cx: &JobContext,
    session: &Session,
    vm: &(VmRef, Vm),
    options: &BackupOptions,
    left_out: LeftOut,
) -> Result<Snapshot, Stop> {
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
    match make(cx, session, vm, options, left_out, entry, &mut made).await {
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
    both: &(VmRef, Vm),
    options: &BackupOptions,
    left_out: LeftOut,
    entry: Uuid,
    made: &mut SnapshotMade,
) -> Result<Snapshot, Stop> {
    let (vm_ref, vm) = both;
    let pool = &session.pool;
    let asked = options.consistency;
    // The VM that is off is off only while the pool makes the snapshot.
    let stopped = match asked {
        Consistency::Offline => power::stop(cx, session, both, options).await?,
        _ => None,
    };
    let maker = Maker { cx, session, vm: both, options, left_out: &left_out, entry, made: &mut *made };
    let frozen = Box::pin(maker.freeze()).await;
    if let Some(stopped) = stopped {
        power::start(cx, session, stopped).await;
    }
    let Frozen { result, reached, by } = frozen?;
    cx.check()?;
    let Some(snapshot) = result.reference::<VmRef>() else {
        return Err(Problem::new("pool.error", "the pool made a snapshot, but does not say which").into());
    };
    for (key, value) in tag::tags(cx.job, session.client.id, "backup") {
        pool.set_other_config(&snapshot, key, &value).await.or_stop(session)?;
    }
    let record: Vm = pool.record(&snapshot).await.or_stop(session)?;
    let disks = disks(cx, session, &record).await?;
    let memory = match reached {
        Consistency::Memory => Some(memory(cx, session, &record).await?),
        _ => None,
    };
    made.vdis = disks.iter().chain(&memory).map(|disk| disk.snapshot_uuid.clone()).collect();
    made.tasks.clear();
    cx.journal.rewrite(entry, &Made::Snapshot(made.clone())).await?;
    let records = cx.or_cancelled(records(session, vm_ref, vm)).await?;
    cx.info(format!("snapshot {} made, {} disk(s)", record.name_label, disks.len()));
    let made = made.clone();
    let memory_bytes = memory.as_ref().map(|memory| memory.size_bytes);
    let consistency = PointConsistency { asked, reached, by, memory_bytes };
    Ok(Snapshot {
        entry,
        made,
        snapshot,
        record,
        vm: vm.clone(),
        disks,
        memory,
        records,
        left_out: left_out.disks,
        consistency,
    })
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
            pool.record::<Vdi>(&vdi.snapshot_of).await.or_gone(session)?.map(|vdi| vdi.uuid).unwrap_or_default()
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

/// The memory in a checkpoint, marked as ours.
async fn memory(cx: &JobContext, session: &Session, checkpoint: &Vm) -> Result<SnapshotDisk, Stop> {
    if checkpoint.suspend_vdi.is_null() {
        let text = format!("pool {} made a checkpoint without memory", session.client.name);
        return Err(Problem::new("pool.error", text).hint("has the VM been shut down at that very moment?").into());
    }
    for (key, value) in tag::tags(cx.job, session.client.id, "backup") {
        session.pool.set_other_config(&checkpoint.suspend_vdi, key, &value).await.or_stop(session)?;
    }
    let vdi: Vdi = session.pool.record(&checkpoint.suspend_vdi).await.or_stop(session)?;
    Ok(SnapshotDisk {
        position: MEMORY.to_owned(),
        bootable: false,
        size_bytes: vdi.virtual_bytes(),
        snapshot_uuid: vdi.uuid,
        // The VM's own image is gone as soon as it runs again.
        original_uuid: String::new(),
        name: vdi.name_label,
    })
}

/// XAPI's own records of the VM and of what belongs to it. What is gone meanwhile, such as the ISO of a drive, is left out.
async fn records(session: &Session, vm_ref: &VmRef, vm: &Vm) -> Result<Records, Stop> {
    let own = session.pool.call("VM.get_record", params![vm_ref]).await.or_stop(session)?;
    let vbds = all(session, &vm.vbds).await?;
    let vifs = all(session, &vm.vifs).await?;
    let vdis = all(session, &named::<VdiRef>(&vbds, "VDI")).await?;
    let networks = all(session, &named::<NetworkRef>(&vifs, "network")).await?;
    Ok(Records { vm: own, vbds, vifs, vdis, networks })
}

/// Records of those that are there.
async fn all<R: Ref>(session: &Session, references: &[R]) -> Result<Vec<Value>, Stop> {
    let mut found = Vec::with_capacity(references.len());
    for reference in references {
        let record = session.pool.call(&format!("{}.get_record", R::CLASS), params![reference]).await;
        found.extend(record.or_gone(session)?);
    }
    Ok(found)
}

/// What a field of records refers to, each once.
fn named<R: Ref + PartialEq>(records: &[Value], field: &str) -> Vec<R> {
    let mut found = Vec::new();
    for reference in records.iter().filter_map(|record| record[field].as_str()).map(|text| R::from(text.to_owned())) {
        if !reference.is_null() && !found.contains(&reference) {
            found.push(reference);
        }
    }
    found
}
