//! Removes the snapshot of a backup.

use std::time::Duration;

use uuid::Uuid;
use xapi::{
    VmRef, params,
    record::{Vbd, VbdType, Vdi, Vm},
};

use super::{destroy_vm, disks, note_down, tasks};
use crate::{
    context::{JobContext, Stop},
    journal::{Made, SnapshotMade},
    session::{OrStop, Session},
    tag,
};

/// How long a snapshot that is being made at this moment is waited for, to be removed then.
const MAKING_LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn remove(
    cx: &JobContext,
    session: &Session,
    mut made: SnapshotMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    tasks::sweep(session, made.job, &made.tasks).await?;
    let unfinished = made.vdis.is_empty();
    if unfinished {
        wait_until_made(session, &made).await?;
    }
    let mut undone = Vec::new();
    for (vm, record) in find(session, &made).await? {
        // The snapshot is what leads to its disks: their uuids are written down before it goes.
        let mut found = disks_of(session, &record).await?;
        found.retain(|vdi| !made.vdis.contains(vdi));
        if !found.is_empty() {
            made.vdis.extend(found);
            note_down(cx, entry, || Made::Snapshot(made.clone())).await?;
        }
        tasks::forget_maker(session, &vm).await?;
        if destroy_vm(session, &vm).await? {
            undone.push(format!("snapshot {} removed", record.name_label));
        }
    }
    // Where the disks were written down there is no need to look through all of the pool.
    if unfinished {
        for vdi in disks::marked(session, made.job).await? {
            if !made.vdis.contains(&vdi) {
                made.vdis.push(vdi);
            }
        }
    }
    for vdi in &made.vdis {
        if disks::destroy(cx, session, vdi).await? {
            undone.push(format!("disk {vdi} of the snapshot removed"));
        }
    }
    Ok(undone)
}

/// Snapshots that are ours: they bear the job's mark; or, if we died before it was put on, no mark at all and a name that
/// has the job's id in it.
async fn find(session: &Session, made: &SnapshotMade) -> Result<Vec<(VmRef, Vm)>, Stop> {
    let label = tag::label(made.job);
    let mut candidates: Vec<VmRef> =
        session.pool.call("VM.get_by_name_label", params![label]).await.or_stop(session)?;
    match session.pool.vm_by_uuid(&made.vm_uuid).await {
        Ok((_, vm)) => candidates.extend(vm.snapshots),
        Err(error) if error.is_gone() => {}
        Err(error) => return Err(session.stop(&error)),
    }
    candidates.sort();
    candidates.dedup();
    let mut ours = Vec::new();
    for vm in candidates {
        let record: Vm = match session.pool.record(&vm).await {
            Ok(record) => record,
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(session.stop(&error)),
        };
        let is_ours = record.is_a_snapshot
            && match record.other_config.get(tag::JOB) {
                Some(_) => tag::is_of_job(&record.other_config, made.job),
                None => record.name_label == label && is_of_vm(session, &record, &made.vm_uuid).await?,
            };
        if is_ours {
            ours.push((vm, record));
        }
    }
    Ok(ours)
}

async fn is_of_vm(session: &Session, snapshot: &Vm, uuid: &str) -> Result<bool, Stop> {
    match session.pool.record::<Vm>(&snapshot.snapshot_of).await {
        Ok(vm) => Ok(vm.uuid == uuid),
        // The VM was removed meanwhile. The name alone is as good as unique.
        Err(error) if error.is_gone() => Ok(true),
        Err(error) => Err(session.stop(&error)),
    }
}

/// Disks of a snapshot, and the memory of a checkpoint.
async fn disks_of(session: &Session, snapshot: &Vm) -> Result<Vec<String>, Stop> {
    let mut uuids = Vec::new();
    if !snapshot.suspend_vdi.is_null() {
        let memory = session.pool.record::<Vdi>(&snapshot.suspend_vdi).await.or_gone(session)?;
        uuids.extend(memory.filter(|vdi| vdi.is_a_snapshot).map(|vdi| vdi.uuid));
    }
    for vbd in &snapshot.vbds {
        let vbd: Vbd = match session.pool.record(vbd).await {
            Ok(vbd) => vbd,
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(session.stop(&error)),
        };
        if vbd.kind != VbdType::Disk || vbd.vdi.is_null() {
            continue;
        }
        match session.pool.record::<Vdi>(&vbd.vdi).await {
            // Never anything but a snapshot's own disk.
            Ok(vdi) if vdi.is_a_snapshot => uuids.push(vdi.uuid),
            Ok(_) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(session.stop(&error)),
        }
    }
    Ok(uuids)
}

/// We may have died between asking for the snapshot and hearing of it: it may be in the making.
async fn wait_until_made(session: &Session, made: &SnapshotMade) -> Result<(), Stop> {
    let deadline = tokio::time::Instant::now() + MAKING_LIMIT;
    while tokio::time::Instant::now() < deadline {
        let vm = match session.pool.by_uuid::<Vm>(&made.vm_uuid).await {
            Ok((_, vm)) => vm,
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) => return Err(session.stop(&error)),
        };
        let making =
            |operation: &String| matches!(operation.as_str(), "snapshot" | "snapshot_with_quiesce" | "checkpoint");
        if !vm.current_operations.values().any(making) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
