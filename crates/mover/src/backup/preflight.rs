//! Clear refusal of what can't work, before anything is made.

use xapi::{
    VmRef,
    record::{Host, PowerState, Sr, Vbd, VbdType, Vdi, Vm},
};
use xenkeep_api::{BackupOptions, Consistency, Places, Problem};

use super::{
    leave_out::{self, LeftOut},
    memory, power,
};
use crate::{
    context::{JobContext, Stop},
    problem::bytes,
    session::{OrStop, Session},
    sr,
};

/// Longest chain of disks that an SR's driver takes (sm: MAX_CHAIN_SIZE); one more snapshot must still fit.
const CHAIN_LIMIT: usize = 29;

/// Room that a snapshot on a thin SR needs at least, for what the guest writes meanwhile.
const THIN_RESERVE_BYTES: u64 = 64 << 20;

/// Refuses a VM that can't be snapshotted, or not as `options` say; tells which of its disks are left out,
/// where it runs and where its disks lie.
pub(super) async fn check(
    cx: &JobContext,
    session: &Session,
    (vm_ref, vm): &(VmRef, Vm),
    options: &BackupOptions,
) -> Result<(LeftOut, Places), Stop> {
    cx.step("preflight");
    if vm.is_a_template {
        // xapi: xapi_vm_lifecycle.ml
        let text = format!("{} is a template, and a pool takes no snapshot of a template", vm.name_label);
        return Err(Problem::new("vm.is_template", text)
            .hint("make a VM of it, or of a clone of it, and back that up: xe vm-param-set is-a-template=false")
            .about(&vm.uuid)
            .into());
    }
    for operation in ["snapshot", "export"] {
        if let Some(reason) = vm.blocked_operations.get(operation) {
            return Err(Problem::new(
                "vm.blocked",
                format!("an administrator has blocked {operation} of VM {}: {reason}", vm.name_label),
            )
            .hint(format!("xe vm-param-remove uuid={} param-name=blocked-operations param-key={operation}", vm.uuid))
            .about(&vm.uuid)
            .into());
        }
    }
    if vm.power_state == PowerState::Suspended && options.consistency != Consistency::Memory {
        cx.note("the VM is suspended: its disks are backed up, its memory image is not");
    }
    if options.consistency == Consistency::Offline {
        cx.or_cancelled(power::check(session, vm_ref, vm)).await?;
    }
    let left_out = leave_out::find(cx, session, vm, &options.leave_out).await?;
    if options.consistency == Consistency::Memory {
        cx.or_cancelled(memory::check(session, vm_ref, vm, &left_out)).await?;
    }
    let places = cx.or_cancelled(disks(session, vm, &left_out)).await?;
    Ok((left_out, places))
}

async fn disks(session: &Session, vm: &Vm, left_out: &LeftOut) -> Result<Places, Stop> {
    let pool = &session.pool;
    let mut places = Places::default();
    if !vm.resident_on.is_null() {
        places.host = pool.record::<Host>(&vm.resident_on).await.or_gone(session)?.map(|host| host.uuid);
    }
    for vbd in &vm.vbds {
        let Some(vbd) = pool.record::<Vbd>(vbd).await.or_gone(session)? else { continue };
        if vbd.kind != VbdType::Disk || vbd.vdi.is_null() || left_out.vdis.contains(&vbd.vdi) {
            continue;
        }
        let Some(vdi) = pool.record::<Vdi>(&vbd.vdi).await.or_gone(session)? else {
            let text = format!("disk {} of VM {} no longer exists on the pool", vbd.userdevice, vm.name_label);
            return Err(Problem::new("vm.disk_missing", text).hint("detach the disk").about(&vm.uuid).into());
        };
        let sr: Sr = pool.record(&vdi.sr).await.or_stop(session)?;
        if sr.holds_disks() {
            check_disk(vm, &vbd, &vdi, &sr)?;
            attached(session, &sr).await?;
            if !places.srs.contains(&sr.uuid) {
                places.srs.push(sr.uuid);
            }
        }
    }
    Ok(places)
}

fn check_disk(vm: &Vm, vbd: &Vbd, vdi: &Vdi, sr: &Sr) -> Result<(), Stop> {
    let disk = format!("disk {} ({}) of VM {}", vbd.userdevice, vdi.name_label, vm.name_label);
    let refuse =
        |code: &str, message: String, hint: &str| Err(Problem::new(code, message).hint(hint).about(&vdi.uuid).into());
    if vdi.missing {
        return refuse(
            "vm.disk_missing",
            format!("{disk} is missing from SR {}", sr.name_label),
            "scan the SR, or detach the disk",
        );
    }
    if vdi.sharable {
        return refuse(
            "vm.disk_shared",
            format!("{disk} is shared by several VMs and can't be snapshotted"),
            "back up what is on it from inside a guest",
        );
    }
    if vdi.on_boot == "reset" {
        return refuse(
            "vm.disk_resets",
            format!("{disk} is reset at each boot and can't be snapshotted"),
            "set the disk's on-boot to persist",
        );
    }
    if vdi.snapshots.len() >= CHAIN_LIMIT {
        return refuse(
            "sr.chain_too_long",
            format!("{disk} has {} snapshots; SR {} takes no more", vdi.snapshots.len(), sr.name_label),
            "remove old snapshots of the VM and wait for the SR to coalesce",
        );
    }
    let needed = match vm.power_state {
        _ if sr::is_thick(sr) => vdi.virtual_bytes(),
        // Nobody writes to it: even a full SR has room for a snapshot without contents.
        PowerState::Halted | PowerState::Suspended => 0,
        _ => THIN_RESERVE_BYTES,
    };
    match sr.free_bytes() {
        Some(free) if free < needed => refuse(
            "sr.full",
            format!("SR {} has {} free, a snapshot of {disk} needs {}", sr.name_label, bytes(free), bytes(needed)),
            "free some space in the SR",
        ),
        _ => Ok(()),
    }
}

async fn attached(session: &Session, sr: &Sr) -> Result<(), Stop> {
    if !session.pool.sr_hosts(sr).await.or_stop(session)?.is_empty() {
        return Ok(());
    }
    Err(Problem::new("sr.not_attached", format!("SR {} is not attached to any host", sr.name_label))
        .hint("plug the SR, then start the job again")
        .about(&sr.uuid)
        .into())
}
