//! Two VMs change places: the imported one takes the identity of the original.
//!
//! | moment | on the pool | what a failure or our death leads to |
//! |---|---|---|
//! | before the swap entry is written | old VM, imported VM | imported VM removed |
//! | entry written, metadata not imported | the same | imported VM removed |
//! | the pool replaces the record | neither, for an instant; all disks are there | old record imported again from the journal |
//! | metadata imported | new VM (original's uuid) on the new disks, imported VM beside it on the same disks | checked; then forward |
//! | forward | record of the imported VM removed, marks taken off, old disks removed | forward again |
//!
//! The replacing is one call: `import_metadata` with `restore=true` and a version above the old one's removes the old VM's
//! record (never its disks) and makes the new one (xapi: import.ml). [`settle`] needs to know nothing but what stands on the
//! pool and what the journal says, so that it serves the end of a restore, a failure and a recovery alike.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use uuid::Uuid;
use xapi::{
    ExportMetadata, ImportMetadata, VmRef,
    record::{VbdType, Vm},
};
use xenkeep_api::Problem;
use xenkeep_disk::{
    value::Value,
    xva::{self, Ova, Reader},
};

use super::{doomed, import::Imported, overwrite};
use crate::{
    context::{JobContext, Stop},
    identity::{self, Identity},
    journal::{ImportMade, Made, SwapDisk, SwapMade},
    problem,
    session::{OrStop, Session},
    tag, undo,
};

/// A swap that only needs to be done.
pub(super) struct Prepared {
    made: SwapMade,
    /// Metadata of the new VM, with the original's identity, over the new disks.
    metadata: Bytes,
}

/// Which of the two stands in the end.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The restored one.
    Forward {
        /// The VM.
        vm: VmRef,
        /// Why something of the old one could not be removed.
        left: Option<Stop>,
    },
    /// The old one, and nothing is left of the other.
    Backward,
}

/// Reads all that the swap needs, and has the pool check it without doing it.
pub(super) async fn prepare(
    cx: &JobContext,
    session: &Session,
    identity: &Identity,
    uuid: &str,
    imported: &Imported,
    import: ImportMade,
) -> Result<Prepared, Stop> {
    cx.check()?;
    // Hours may have passed since it was looked at.
    let (old, record) = session.pool.vm_by_uuid(uuid).await.or_stop(session)?;
    overwrite::check(&record)?;
    let old_disks = disks(session, &record).await?;
    let doomed = doomed::list(cx, session, &old, &old_disks, &imported.disks).await?;
    if !record.snapshots.is_empty() {
        cx.warn(
            Problem::new(
                "restore.snapshots_detached",
                format!(
                    "{} snapshot(s) of the old VM stay on the pool, but are no longer listed under the VM",
                    record.snapshots.len()
                ),
            )
            .hint("they can still be reverted to, or removed, by their own uuids"),
        );
    }
    let old_metadata = export(cx, session, &old).await?;
    let exported = export(cx, session, &imported.vm).await?;
    let metadata = metadata(identity, &record, &exported).await?;
    let dry_run = ImportMetadata { dry_run: true, ..import_of(cx, session).await? };
    session.pool.import_metadata(&metadata, dry_run).await.or_stop(session)?;
    cx.check()?;
    let mut macs: Vec<String> = identity.macs().map(|(_, mac)| mac.to_owned()).collect();
    macs.sort();
    let made = SwapMade {
        import,
        vm_uuid: record.uuid,
        vm_name: record.name_label,
        working_uuid: imported.record.uuid.clone(),
        old_metadata: BASE64_STANDARD.encode(&old_metadata),
        old_disks,
        new_disks: imported.disks.clone(),
        doomed,
        macs,
        old_version: Some(record.version),
        task: None,
    };
    Ok(Prepared { made, metadata })
}

/// Does it. From here on the job is not cancelled: it takes seconds, and ends with exactly one of the two.
pub(super) async fn swap(cx: &JobContext, session: &Session, entry: Uuid, prepared: Prepared) -> Result<VmRef, Stop> {
    let Prepared { mut made, metadata } = prepared;
    cx.journal.rewrite(entry, &Made::Swap(Box::new(made.clone()))).await?;
    let answer = async {
        let import = import_of(cx, session).await?;
        made.task = import.task.as_ref().map(ToString::to_string);
        cx.journal.rewrite(entry, &Made::Swap(Box::new(made.clone()))).await?;
        session.pool.import_metadata(&metadata, import).await.or_stop(session)
    }
    .await;
    let name = made.vm_name.clone();
    match settle(cx, session, entry, made).await {
        Ok((Ending::Forward { vm, left }, _)) => {
            cx.info(format!("VM {name} is the restored one now"));
            if let Some(left) = left {
                cx.warn(
                    Problem::new(
                        "restore.old_disks_left",
                        format!("an old disk of VM {name} could not be removed: {}", left.text()),
                    )
                    .hint("xenkeep tries again; nothing needs to be done unless this stays so"),
                );
            }
            Ok(vm)
        }
        Ok((Ending::Backward, _)) => Err(answer.err().unwrap_or_else(|| {
            Problem::new(
                "restore.swap_failed",
                format!("the pool did not put the restored VM in the place of {name}; the old one stands"),
            )
            .into()
        })),
        Err(stop) => {
            let cause = answer.err().unwrap_or(stop);
            Err(Problem::new(
                "restore.swap_unsettled",
                format!("VM {name} could not be brought into order: {}", cause.text()),
            )
            .hint("as soon as the pool answers, xenkeep puts either the old or the restored VM in place; both VMs' disks are there")
            .about(name)
            .into())
        }
    }
}

/// Looks which of the two stands, completes it, and removes what is left of the other; says what was done. The entry is
/// cleared when nothing is left to do.
pub(crate) async fn settle(
    cx: &JobContext,
    session: &Session,
    entry: Uuid,
    made: SwapMade,
) -> Result<(Ending, Vec<String>), Stop> {
    let job = made.import.job;
    let known: Vec<String> = made.task.iter().chain(&made.import.task).cloned().collect();
    undo::sweep_tasks(session, job, &known).await?;
    let standing = match session.pool.vm_by_uuid(&made.vm_uuid).await {
        Ok(vm) => Some(vm),
        Err(error) if error.is_gone() => None,
        Err(error) => return Err(session.stop(&error)),
    };
    let mut undone = Vec::new();
    if let Some((vm, record)) = standing {
        let found = disks(session, &record).await?;
        if !is_new(&made, &record, &found) {
            return backward(cx, session, entry, made, undone).await;
        }
        match faults(session, &made, &record, &found).await? {
            None => return forward(cx, session, entry, made, vm).await,
            Some(fault) if can_go_back(session, &made).await? => {
                cx.note(format!("the restored VM is not as it should be ({fault}): bringing the old one back"));
                session.pool.vm_destroy(&vm).await.or_stop(session)?;
                undone.push(format!("VM {} in its faulty form removed", made.vm_name));
            }
            Some(fault) => {
                cx.note(format!("the restored VM is not as it should be ({fault}), but the old one is gone"));
                return forward(cx, session, entry, made, vm).await;
            }
        }
    }
    bring_back(cx, session, &made).await?;
    undone.push(format!("VM {} ({}) brought back", made.vm_name, made.vm_uuid));
    backward(cx, session, entry, made, undone).await
}

/// The old VM stands: nothing of the imported one is to be left.
async fn backward(
    cx: &JobContext,
    session: &Session,
    entry: Uuid,
    made: SwapMade,
    mut undone: Vec<String>,
) -> Result<(Ending, Vec<String>), Stop> {
    undone.extend(undo::import(cx, session, made.import, None).await?);
    cx.journal.clear(entry).await?;
    Ok((Ending::Backward, undone))
}

/// The new VM stands: nothing of the old one is to be left but its snapshots, nor of ours.
async fn forward(
    cx: &JobContext,
    session: &Session,
    entry: Uuid,
    made: SwapMade,
    vm: VmRef,
) -> Result<(Ending, Vec<String>), Stop> {
    let mut undone = Vec::new();
    match session.pool.vm_by_uuid(&made.working_uuid).await {
        Ok((working, record)) if tag::is_of_job(&record.other_config, made.import.job) => {
            undo::destroy_vm(session, &working).await?;
            undone.push(format!("record {} of the imported VM removed", made.working_uuid));
        }
        Ok(_) => {}
        Err(error) if error.is_gone() => {}
        Err(error) => return Err(session.stop(&error)),
    }
    let new: Vec<String> = made.new_disks.iter().map(|disk| disk.vdi_uuid.clone()).collect();
    undo::strip_marks(session, &vm, &new).await?;
    let mut left = None;
    for uuid in &made.doomed {
        match remove_old(cx, session, uuid).await {
            Ok(true) => undone.push(format!("old disk {uuid} removed")),
            Ok(false) => {}
            Err(stop) => left = Some(stop),
        }
    }
    if left.is_none() {
        cx.journal.clear(entry).await?;
    }
    Ok((Ending::Forward { vm, left }, undone))
}

async fn remove_old(cx: &JobContext, session: &Session, uuid: &str) -> Result<bool, Stop> {
    if !undo::is_free(session, uuid, None).await? {
        cx.note(format!("old disk {uuid} is used by another VM now: left alone"));
        return Ok(false);
    }
    undo::destroy_vdi(cx, session, uuid).await
}

/// Imports the old VM's metadata again, over its disks, which nobody has touched.
async fn bring_back(cx: &JobContext, session: &Session, made: &SwapMade) -> Result<(), Stop> {
    let unreadable = |error| Stop::from(Problem::internal(&error));
    let metadata = BASE64_STANDARD.decode(&made.old_metadata).map_err(unreadable)?;
    let import = import_of_job(session, made.import.job).await?;
    session.pool.import_metadata(&metadata, import).await.or_stop(session)?;
    let (vm, record) = session.pool.vm_by_uuid(&made.vm_uuid).await.or_stop(session)?;
    if disks(session, &record).await? != made.old_disks {
        return Err(Problem::new(
            "restore.rollback_failed",
            format!("VM {} was brought back, but not with its disks", made.vm_name),
        )
        .hint(format!("its disks are: {}", uuids(&made.old_disks)))
        .about(&made.vm_uuid)
        .into());
    }
    session.pool.remove_other_config(&vm, tag::IMPORT_TASK).await.or_stop(session)?;
    cx.note(format!("VM {} ({}) was brought back from its saved metadata", made.vm_name, made.vm_uuid));
    Ok(())
}

/// The VM that stands is the restored one, whole or not: it has disks of it, or no disks where there are none to have.
fn is_new(made: &SwapMade, standing: &Vm, found: &[SwapDisk]) -> bool {
    if made.new_disks.is_empty() {
        return made.old_version.is_some_and(|old| standing.version > old);
    }
    found.iter().any(|disk| made.new_disks.iter().any(|new| new.vdi_uuid == disk.vdi_uuid))
}

/// What is wrong with the new VM.
async fn faults(session: &Session, made: &SwapMade, vm: &Vm, found: &[SwapDisk]) -> Result<Option<String>, Stop> {
    let mut new = made.new_disks.clone();
    new.sort();
    if found != new {
        return Ok(Some(format!("its disks are {}", uuids(found))));
    }
    let mut macs = Vec::new();
    for vif in &vm.vifs {
        macs.push(session.pool.vif(vif).await.or_stop(session)?.mac);
    }
    macs.sort();
    Ok((macs != made.macs).then(|| format!("its MACs are {}", macs.join(", "))))
}

/// All disks of the old VM are still there.
async fn can_go_back(session: &Session, made: &SwapMade) -> Result<bool, Stop> {
    for disk in &made.old_disks {
        match session.pool.vdi_by_uuid(&disk.vdi_uuid).await {
            Ok(_) => {}
            Err(error) if error.is_gone() => return Ok(false),
            Err(error) => return Err(session.stop(&error)),
        }
    }
    Ok(true)
}

/// Metadata of the imported VM, changed to bear the original's identity, and a version above the old VM's.
async fn metadata(identity: &Identity, old: &Vm, exported: &[u8]) -> Result<Bytes, Stop> {
    let unreadable = |error| Stop::from(problem::disk(None, "the metadata of the imported VM", error));
    let mut ova: Ova = Reader::open(exported).await.map_err(unreadable)?.into_ova();
    identity.put_on(&mut ova);
    for vm in ova.of_class_mut("VM") {
        let version = vm.snapshot.int("version").unwrap_or(0).max(old.version.saturating_add(1));
        vm.snapshot.set("version", Value::decimal(version));
    }
    // The imported VM's TPM stands still when the new one is made, and two can't have one uuid.
    identity::renew_vtpms(&mut ova);
    Ok(xva::metadata(ova.to_xml().as_bytes()))
}

async fn export(cx: &JobContext, session: &Session, vm: &VmRef) -> Result<Bytes, Stop> {
    let label = format!("{} metadata", tag::label(cx.job));
    let task = session.pool.task_create(&label, "xenkeep saves a VM's metadata").await.or_stop(session)?;
    let export = ExportMetadata { task: Some(task), ..ExportMetadata::new(vm.clone()) };
    session.pool.export_metadata(export).await.or_stop(session)
}

async fn import_of(cx: &JobContext, session: &Session) -> Result<ImportMetadata, Stop> {
    import_of_job(session, cx.job).await
}

async fn import_of_job(session: &Session, job: xenkeep_api::JobId) -> Result<ImportMetadata, Stop> {
    let label = format!("{} swap", tag::label(job));
    let task = session.pool.task_create(&label, "xenkeep puts a VM in its place").await.or_stop(session)?;
    Ok(ImportMetadata { restore: true, task: Some(task), ..ImportMetadata::default() })
}

/// The VM's disks, by position.
async fn disks(session: &Session, vm: &Vm) -> Result<Vec<SwapDisk>, Stop> {
    let mut disks = Vec::new();
    for (_, vbd, vdi) in session.pool.vm_disks(vm).await.or_stop(session)? {
        if let (VbdType::Disk, Some((_, vdi))) = (&vbd.kind, vdi) {
            disks.push(SwapDisk { position: vbd.userdevice, vdi_uuid: vdi.uuid, name: vdi.name_label });
        }
    }
    disks.sort();
    Ok(disks)
}

fn uuids(disks: &[SwapDisk]) -> String {
    disks.iter().map(|disk| disk.vdi_uuid.as_str()).collect::<Vec<_>>().join(", ")
}
