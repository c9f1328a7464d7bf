//! Restore over the original: same uuid, name and MACs.
//!
//! Where the original is gone, the pool itself restores its identity. Where it still stands, the VM is imported beside it
//! under a working name and checked; then the two change places by their metadata alone, which takes seconds ([`swap`]).

use xapi::{
    VmRef,
    record::{PowerState, Vm},
};
use xenkeep_api::Problem;

use super::{
    beside, doomed,
    import::{self, Source},
    plan::Planned,
    swap,
};
use crate::{
    context::{JobContext, Stop},
    identity,
    journal::{ImportMade, Made},
    open::OpenPoint,
    session::Session,
    tag, undo,
};

/// Restores the point over the VM that it was made of.
pub(super) async fn restore(
    cx: &JobContext,
    session: &Session,
    point: &OpenPoint,
    planned: &Planned,
) -> Result<VmRef, Stop> {
    let Some(old) = &planned.old else {
        cx.info(format!("VM {} is no longer on the pool: it is restored as it was", point.file.source().id));
        return recreate(cx, session, point, planned).await;
    };
    if planned.first.is_empty() {
        return Box::pin(replace(cx, session, point, planned, old)).await;
    }
    doomed::destroy_first(cx, session, (&old.0, &old.1.name_label), &planned.first).await?;
    Box::pin(replace(cx, session, point, planned, old)).await.map_err(|stop| match stop {
        Stop::Problem(problem) => {
            let again = format!(
                "the disks of VM {} were removed beforehand, as was asked for, and only the restore point has them now: \
                 restore it again",
                old.1.name_label
            );
            let hint = problem.hint.as_ref().map_or_else(|| again.clone(), |hint| format!("{hint}; {again}"));
            problem.hint(hint).into()
        }
        Stop::Cancelled => {
            cx.note(format!("the disks of VM {} were removed beforehand: restore it again", old.1.name_label));
            Stop::Cancelled
        }
    })
}

/// The VM of that uuid, if it still stands.
pub(super) async fn original(session: &Session, uuid: &str) -> Result<Option<(VmRef, Vm)>, Stop> {
    match session.pool.vm_by_uuid(uuid).await {
        Ok(vm) => Ok(Some(vm)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(session.stop(&error)),
    }
}

/// Only a VM that is off, and that nobody has locked, is replaced.
pub(super) fn check(vm: &Vm) -> Result<(), Stop> {
    if vm.power_state != PowerState::Halted {
        return Err(Problem::new(
            "vm.not_halted",
            format!(
                "VM {} is {}: only a VM that is shut down is restored over",
                vm.name_label,
                vm.power_state.as_str().to_lowercase()
            ),
        )
        .hint("shut the VM down first, or restore beside it with --as")
        .about(&vm.uuid)
        .into());
    }
    if let Some(reason) = vm.blocked_operations.get("destroy") {
        return Err(Problem::new(
            "vm.blocked",
            format!("an administrator has blocked the removal of VM {}: {reason}", vm.name_label),
        )
        .hint(format!("xe vm-param-remove uuid={} param-name=blocked-operations param-key=destroy", vm.uuid))
        .about(&vm.uuid)
        .into());
    }
    Ok(())
}

/// The original is gone: the pool restores its identity.
async fn recreate(cx: &JobContext, session: &Session, point: &OpenPoint, planned: &Planned) -> Result<VmRef, Stop> {
    let mut ova = point.ova();
    point.identity().put_on(&mut ova);
    identity::renew_vtpms(&mut ova);
    identity::put_tags(&mut ova, &tag::tags(cx.job, session.client.id, "restore"));
    let mut made = ImportMade { job: cx.job, task: None, vdis: Vec::new() };
    let entry = cx.journal.write(&Made::Import(made.clone())).await?;
    planned.networks.put_on(&mut ova);
    let source = Source { point, ova, restore: true, planned };
    let done = async {
        let imported = import::import(cx, session, source, entry, &mut made).await?;
        if imported.record.uuid != point.file.source().id {
            return Err(Problem::new("restore.identity", "the pool gave the restored VM another uuid").into());
        }
        beside::finish(cx, session, &imported).await?;
        Ok(imported.vm)
    };
    match done.await {
        Ok(vm) => {
            cx.journal.clear(entry).await?;
            Ok(vm)
        }
        Err(stop) => {
            cx.step("cleanup");
            undo::or_warn(cx, "the half-imported VM", undo::import(cx, session, made, Some(entry)).await);
            Err(stop)
        }
    }
}

/// The original stands: the new VM is imported beside it, then takes its place.
async fn replace(
    cx: &JobContext,
    session: &Session,
    point: &OpenPoint,
    planned: &Planned,
    old: &(VmRef, Vm),
) -> Result<VmRef, Stop> {
    cx.info(format!("VM {} ({}) will be replaced once the restored one has arrived", old.1.name_label, old.1.uuid));
    let identity = point.identity();
    let mut ova = point.ova();
    identity.beside(&mut ova, &format!("{} (restoring, {})", identity.name, tag::label(cx.job)));
    identity::put_tags(&mut ova, &tag::tags(cx.job, session.client.id, "restore"));
    let mut made = ImportMade { job: cx.job, task: None, vdis: Vec::new() };
    let entry = cx.journal.write(&Made::Import(made.clone())).await?;
    planned.networks.put_on(&mut ova);
    let source = Source { point, ova, restore: false, planned };
    let prepared = async {
        let imported = import::import(cx, session, source, entry, &mut made).await?;
        cx.step("swap");
        swap::prepare(cx, session, &identity, &old.1.uuid, &imported, made.clone()).await
    };
    match prepared.await {
        Ok(prepared) => {
            let vm = swap::swap(cx, session, entry, prepared).await?;
            // The swap finds networks by their names once more.
            planned.networks.settle(session, &vm).await?;
            Ok(vm)
        }
        Err(stop) => {
            cx.step("cleanup");
            undo::or_warn(cx, "the half-imported VM", undo::import(cx, session, made, Some(entry)).await);
            Err(stop)
        }
    }
}
