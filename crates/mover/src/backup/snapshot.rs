//! The snapshot: journal first, then made, then marked; and what the pool says of the VM at that moment.

use serde_json::Value;
use uuid::Uuid;
use xapi::{
    Backoff, NetworkRef, Ref, TaskResult, VdiRef, VmRef, params,
    record::{PowerState, Sr, Vbd, VbdType, Vdi, Vm},
};
use xenkeep_api::{BackupOptions, Consistency, LeftOutDisk, PointConsistency, Problem};

use super::{leave_out::LeftOut, power};
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
    let frozen = freeze(cx, session, both, asked, &left_out, entry, made).await;
    if let Some(stopped) = stopped {
        power::start(cx, session, stopped).await;
    }
    let (result, reached) = frozen?;
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
    let consistency = PointConsistency { asked, reached };
    Ok(Snapshot {
        entry,
        made,
        snapshot,
        record,
        vm: vm.clone(),
        disks,
        records,
        left_out: left_out.disks,
        consistency,
    })
}

/// Has the pool freeze the disks in the state that was asked for; tells in which they are.
async fn freeze(
    cx: &JobContext,
    session: &Session,
    (vm_ref, vm): &(VmRef, Vm),
    asked: Consistency,
    left_out: &LeftOut,
    entry: Uuid,
    made: &mut SnapshotMade,
) -> Result<(TaskResult, Consistency), Stop> {
    let plain = Way::Plain(&left_out.vdis);
    match asked {
        Consistency::Crash => {}
        Consistency::Offline => {
            let result = or_refused(session, ask(cx, session, vm_ref, &plain, entry, made).await?)?;
            return Ok((result, Consistency::Offline));
        }
        // Nobody is in it who could write anything out.
        Consistency::Quiesced | Consistency::QuiescedPreferred if vm.power_state == PowerState::Halted => {
            cx.info("the VM is off: its disks are as it left them");
            let result = or_refused(session, ask(cx, session, vm_ref, &plain, entry, made).await?)?;
            return Ok((result, Consistency::Offline));
        }
        Consistency::Quiesced | Consistency::QuiescedPreferred => {
            let why = if left_out.vdis.is_empty() {
                match ask(cx, session, vm_ref, &Way::Quiesced, entry, made).await? {
                    Ok(result) => return Ok((result, Consistency::Quiesced)),
                    Err(error) if cannot_quiesce(&error) => session.stop(&error).text().to_owned(),
                    Err(error) => return Err(session.stop(&error)),
                }
            } else {
                "no pool quiesces a VM and leaves disks out".to_owned()
            };
            let problem = not_quiesced(vm, &why);
            if asked == Consistency::Quiesced {
                return Err(problem.into());
            }
            cx.warn(problem);
        }
    }
    let result = or_refused(session, ask(cx, session, vm_ref, &plain, entry, made).await?)?;
    Ok((result, Consistency::Crash))
}

/// Pool or guest is not able to, now or ever; nothing was made.
fn cannot_quiesce(error: &xapi::Error) -> bool {
    let code = error.api_code().unwrap_or_default();
    error.is_unsupported()
        || code.starts_with("VM_SNAPSHOT_WITH_QUIESCE")
        || matches!(
            code,
            "LICENCE_RESTRICTION"
                | "FEATURE_RESTRICTED"
                | "VM_MISSING_PV_DRIVERS"
                | "VM_LACKS_FEATURE"
                | "VM_BAD_POWER_STATE"
        )
}

fn not_quiesced(vm: &Vm, why: &str) -> Problem {
    let text = format!("VM {} was not quiesced: {why}", vm.name_label);
    Problem::new("vm.not_quiesced", text)
        .hint(
            "pools since Citrix Hypervisor 8.1 and XCP-ng 8.1 can't quiesce; --consistency offline shuts the guest down, \
             quiesced-preferred goes on without",
        )
        .about(&vm.uuid)
}

/// What a plain snapshot failed with. That disks can't be left out is said in words that tell what to do.
fn or_refused(session: &Session, answer: Result<TaskResult, xapi::Error>) -> Result<TaskResult, Stop> {
    answer.map_err(|error| {
        if !error.is_api("MESSAGE_PARAMETER_COUNT_MISMATCH") {
            return session.stop(&error);
        }
        let text = format!("pool {} can't leave disks out of a snapshot: its release is too old", session.client.name);
        Problem::new("pool.cannot_leave_out", text)
            .hint("that takes XenServer 8 or XCP-ng 8.3; until then take [NOBAK] out of the disks' names, and the rules out of the task")
            .into()
    })
}

/// How a snapshot is made.
enum Way<'a> {
    /// Without the guest's help, and without these disks.
    Plain(&'a [VdiRef]),
    /// With the guest's help.
    Quiesced,
}

/// Has the pool make it. A VM or storage that is busy with something else is asked again for a while: nothing was begun then.
async fn ask(
    cx: &JobContext,
    session: &Session,
    vm: &VmRef,
    way: &Way<'_>,
    entry: Uuid,
    made: &mut SnapshotMade,
) -> Result<Result<TaskResult, xapi::Error>, Stop> {
    let pool = &session.pool;
    let mut tries = 0;
    loop {
        let begun = match way {
            Way::Plain(left_out) => pool.vm_snapshot(vm, &made.name, left_out).await,
            Way::Quiesced => pool.vm_snapshot_with_quiesce(vm, &made.name).await,
        };
        let answer = match begun {
            Ok(task) => {
                made.tasks.push(task.to_string());
                cx.journal.rewrite(entry, &Made::Snapshot(made.clone())).await?;
                pool.task(task).wait(&cx.cancel, |_| {}).await
            }
            Err(error) => Err(error),
        };
        tries += 1;
        // A connection that broke is another thing: the snapshot may have been made.
        let busy = answer.as_ref().is_err_and(|error| error.api_code().is_some() && error.is_transient());
        let Some(pause) = Backoff::default().pause(tries).filter(|_| busy) else { return Ok(answer) };
        if tries == 1 {
            cx.info("the pool is busy with the VM or its storage: waiting");
        }
        let wait = async {
            tokio::time::sleep(pause).await;
            Ok::<_, Stop>(())
        };
        cx.or_cancelled(wait).await?;
    }
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
