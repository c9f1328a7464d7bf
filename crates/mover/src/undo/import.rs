//! Removes what an import made and nobody confirmed.

use std::{collections::HashMap, time::Duration};

use uuid::Uuid;
use xapi::{
    NetworkRef, VdiRef, VmRef,
    record::{Network, PowerState, Vbd, VbdType, Vdi, Vm},
};

use super::{destroy_vm, disks, note_down, tasks, within_limit};
use crate::{
    context::{JobContext, Stop},
    journal::{ImportMade, Made},
    session::{OrStop, Session},
    tag,
};

/// How long the pool may take to undo a failed import by itself.
const SELF_UNDO_LIMIT: Duration = Duration::from_secs(30);

/// Removes VM, disks and networks that an import of `made.job` made, as far as they still bear the job's mark: a finished
/// restore has lost it. Clears `entry` when nothing is left.
pub(crate) async fn import(
    cx: &JobContext,
    session: &Session,
    made: ImportMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    let undone = within_limit(session, Box::pin(remove(cx, session, made, entry))).await?;
    if let Some(entry) = entry {
        cx.journal.clear(entry).await?;
    }
    Ok(undone)
}

async fn remove(
    cx: &JobContext,
    session: &Session,
    mut made: ImportMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    let known: Vec<String> = made.task.iter().cloned().collect();
    tasks::sweep(session, made.job, &known).await?;
    let mut undone = Vec::new();
    let mut adopted = false;
    for (vm, record) in marked_when_quiet(session, &made).await? {
        let mut found = own_disks(session, &record, &made).await?;
        found.retain(|vdi| !made.vdis.contains(vdi));
        if !found.is_empty() {
            made.vdis.extend(found);
            note_down(cx, entry, || Made::Import(made.clone())).await?;
        }
        if matches!(record.power_state, PowerState::Running | PowerState::Paused) {
            // We start nothing that bears our mark: somebody has found the VM and taken it into use.
            strip_marks(session, &vm, &made.vdis).await?;
            let name = &record.name_label;
            cx.note(format!("VM {name} ({}) was started by somebody: it is left as it is", record.uuid));
            undone.push(format!("VM {name} ({}) left, as it is in use", record.uuid));
            adopted = true;
            continue;
        }
        if destroy_vm(session, &vm).await? {
            undone.push(format!("VM {} ({}) removed", record.name_label, record.uuid));
        }
    }
    for vdi in disks::marked(session, made.job).await? {
        if !disks::is_free(session, &vdi, None).await? {
            // It belongs to a VM that stands: the restore was finished but for the marks.
            strip_disk(session, &vdi).await?;
        } else if disks::destroy(cx, session, &vdi).await? {
            undone.push(format!("disk {vdi} removed"));
        }
    }
    // A disk whose mark is gone already, of a VM that bore the mark still.
    if !undone.is_empty() && !adopted {
        for vdi in &made.vdis {
            if disks::is_free(session, vdi, None).await? && disks::destroy(cx, session, vdi).await? {
                undone.push(format!("disk {vdi} removed"));
            }
        }
    }
    undone.extend(networks(session, &made).await?);
    Ok(undone)
}

/// VMs that bear the job's mark, once the pool has stopped undoing by itself.
async fn marked_when_quiet(session: &Session, made: &ImportMade) -> Result<Vec<(VmRef, Vm)>, Stop> {
    let deadline = tokio::time::Instant::now() + SELF_UNDO_LIMIT;
    loop {
        let all: HashMap<VmRef, Vm> = session.pool.records().await.or_stop(session)?;
        let marked: Vec<(VmRef, Vm)> =
            all.into_iter().filter(|(_, vm)| tag::is_of_job(&vm.other_config, made.job) && !vm.is_a_snapshot).collect();
        let busy = marked.iter().any(|(_, vm)| vm.current_operations.values().any(|operation| operation == "import"));
        if !busy || tokio::time::Instant::now() > deadline {
            return Ok(marked);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Disks of the VM that the import made: they bear the mark, or their uuids were written down.
async fn own_disks(session: &Session, vm: &Vm, made: &ImportMade) -> Result<Vec<String>, Stop> {
    let mut uuids = Vec::new();
    if !vm.suspend_vdi.is_null() {
        let memory = session.pool.record::<Vdi>(&vm.suspend_vdi).await.or_gone(session)?;
        uuids.extend(memory.filter(|vdi| tag::is_of_job(&vdi.other_config, made.job)).map(|vdi| vdi.uuid));
    }
    for vbd in &vm.vbds {
        let vbd: Vbd = match session.pool.record(vbd).await {
            Ok(vbd) => vbd,
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(session.stop(&error)),
        };
        if vbd.kind != VbdType::Disk || vbd.vdi.is_null() {
            continue;
        }
        match session.pool.record::<Vdi>(&vbd.vdi).await {
            Ok(vdi) if tag::is_of_job(&vdi.other_config, made.job) || made.vdis.contains(&vdi.uuid) => {
                uuids.push(vdi.uuid)
            }
            Ok(_) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(session.stop(&error)),
        }
    }
    Ok(uuids)
}

/// Networks that this import made because the pool had none of that name; only while nothing uses them.
async fn networks(session: &Session, made: &ImportMade) -> Result<Vec<String>, Stop> {
    let Some(task) = &made.task else { return Ok(Vec::new()) };
    let all: HashMap<NetworkRef, Network> = session.pool.records().await.or_stop(session)?;
    let vifs: HashMap<xapi::VifRef, xapi::record::Vif> = session.pool.records().await.or_stop(session)?;
    let mut undone = Vec::new();
    for (network, record) in all {
        let ours = record.other_config.get(tag::IMPORT_TASK) == Some(task);
        if ours && record.pifs.is_empty() && !vifs.values().any(|vif| vif.network == network) {
            session.pool.run("network.destroy", xapi::params![network]).await.or_stop(session)?;
            undone.push(format!("network {} removed", record.name_label));
        }
    }
    Ok(undone)
}

/// Takes our marks off a VM, its disks and its memory: from then on they are the administrator's. The VM's own come off last, since
/// they are what says that the restore is not finished.
pub(crate) async fn strip_marks(session: &Session, vm: &VmRef, vdis: &[String]) -> Result<(), Stop> {
    for vdi in vdis {
        strip_disk(session, vdi).await?;
    }
    let memory = session.pool.vm(vm).await.or_stop(session)?.suspend_vdi;
    if !memory.is_null()
        && let Some(memory) = session.pool.record::<Vdi>(&memory).await.or_gone(session)?
    {
        strip_disk(session, &memory.uuid).await?;
    }
    for key in [tag::IMPORT_TASK, tag::CLIENT, tag::TASK, tag::CREATED, tag::JOB] {
        session.pool.remove_other_config(vm, key).await.or_stop(session)?;
    }
    Ok(())
}

async fn strip_disk(session: &Session, uuid: &str) -> Result<(), Stop> {
    let vdi: VdiRef = match session.pool.by_uuid::<Vdi>(uuid).await {
        Ok((vdi, _)) => vdi,
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => return Err(session.stop(&error)),
    };
    for key in [tag::CLIENT, tag::TASK, tag::CREATED, tag::JOB] {
        session.pool.remove_other_config(&vdi, key).await.or_stop(session)?;
    }
    Ok(())
}
