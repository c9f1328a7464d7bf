//! Which disks of the VM that is replaced go, and which stay.

use xapi::VmRef;
use xenkeep_api::Problem;

use crate::{
    context::{JobContext, Stop},
    journal::SwapDisk,
    session::Session,
    undo,
};

/// Those old disks that the point replaces. Disks at other positions hold what was never backed up with this point, and
/// disks that another VM uses too are not the old VM's alone: both stay.
pub(super) async fn list(
    cx: &JobContext,
    session: &Session,
    old: &VmRef,
    old_disks: &[SwapDisk],
    new_disks: &[SwapDisk],
) -> Result<Vec<String>, Stop> {
    let mut doomed = Vec::new();
    for disk in old_disks {
        let Some(why) = why_kept(session, old, &disk.position, &disk.vdi_uuid, new_disks).await? else {
            cx.info(format!("old disk {} ({}, {}) will be removed", disk.position, disk.name, disk.vdi_uuid));
            doomed.push(disk.vdi_uuid.clone());
            continue;
        };
        cx.warn(
            Problem::new(
                "restore.disk_kept",
                format!("disk {} ({}) of the old VM is kept, detached: {why}", disk.position, disk.name),
            )
            .hint("attach it to the VM, or remove it")
            .about(&disk.vdi_uuid),
        );
    }
    Ok(doomed)
}

/// Why an old disk stays; none if it goes.
pub(super) async fn why_kept(
    session: &Session,
    old: &VmRef,
    position: &str,
    vdi_uuid: &str,
    new_disks: &[SwapDisk],
) -> Result<Option<&'static str>, Stop> {
    if !new_disks.iter().any(|new| new.position == position) {
        return Ok(Some("the restore point has no disk there"));
    }
    let free = undo::is_free(session, vdi_uuid, Some(old)).await?;
    Ok((!free).then_some("another VM uses it too"))
}

/// Removes disks of the original before the restore, as was asked for and confirmed: from here on only the restore point
/// has what was on them.
pub(super) async fn destroy_first(
    cx: &JobContext,
    session: &Session,
    (old, name): (&VmRef, &str),
    disks: &[String],
) -> Result<(), Stop> {
    cx.step("destroy");
    cx.note(format!("{} disk(s) of VM {name} are removed before the restore, as was asked for", disks.len()));
    for uuid in disks {
        cx.check()?;
        // Hours may lie between the plan and now.
        if !undo::is_free(session, uuid, Some(old)).await? {
            return Err(Problem::new(
                "restore.disk_in_use",
                format!("disk {uuid} of VM {name} is used by another VM now"),
            )
            .hint("detach it there, or restore beside with --as")
            .about(uuid)
            .into());
        }
        undo::destroy_vdi(cx, session, uuid).await?;
        cx.info(format!("old disk {uuid} removed"));
    }
    Ok(())
}
