//! Whether a VM can be checkpointed, as far as the pool tells before it is tried.

use std::collections::HashMap;

use xapi::{
    SrRef, VmRef,
    record::{Host, PowerState, Sr, Vm},
};
use xenkeep_api::Problem;

use super::leave_out::LeftOut;
use crate::{
    context::Stop,
    problem::bytes,
    session::{OrStop, Session},
    sr,
};

/// Operations that a checkpoint is made of.
const OPERATIONS: [&str; 3] = ["checkpoint", "suspend", "resume"];

/// Refuses what can't work.
pub(super) async fn check(session: &Session, vm_ref: &VmRef, vm: &Vm, left_out: &LeftOut) -> Result<(), Stop> {
    let refuse =
        |text: String, hint: &str| Err(Problem::new("vm.cannot_checkpoint", text).hint(hint).about(&vm.uuid).into());
    let name = &vm.name_label;
    match vm.power_state {
        // There is no memory to keep.
        PowerState::Halted => return Ok(()),
        PowerState::Running | PowerState::Suspended => {}
        _ => {
            let text = format!("VM {name} is {}: its memory can't be kept", vm.power_state);
            return refuse(text, "let it run; or choose another consistency");
        }
    }
    if !left_out.disks.is_empty() {
        let text =
            format!("the memory of VM {name} can't be kept while disks are left out: it would go on without them");
        return refuse(text, "take the rules for disks out of the task, or choose another consistency");
    }
    for operation in OPERATIONS {
        if let Some(reason) = vm.blocked_operations.get(operation) {
            let text = format!("an administrator has blocked {operation} of VM {name}: {reason}");
            return Err(Problem::new("vm.blocked", text).about(&vm.uuid).into());
        }
    }
    let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
    if pool.restrictions.get("restrict_checkpoint").is_some_and(|value| value == "true") {
        let text = format!("the licence of pool {} has no checkpoints: memory can't be kept", session.client.name);
        return Err(Problem::new("pool.licence", text).hint("choose another consistency").about(&vm.uuid).into());
    }
    session.pool.assert_operation_valid(vm_ref, "checkpoint").await.map_err(|error| {
        let text = format!("the memory of VM {name} can't be kept: {}", session.stop(&error).text());
        let problem = Problem::new("vm.cannot_checkpoint", text).about(&vm.uuid);
        Stop::from(problem.hint(
            "the guest's tools must run for that, and no device be passed through; or choose another consistency",
        ))
    })?;
    if vm.power_state == PowerState::Running { room(session, vm, pool.suspend_image_sr).await } else { Ok(()) }
}

/// The memory is written to an SR before it is read (xapi: xapi_vm_helpers.ml choose_suspend_sr).
async fn room(session: &Session, vm: &Vm, of_pool: SrRef) -> Result<(), Stop> {
    let srs: HashMap<SrRef, Sr> = session.pool.records().await.or_stop(session)?;
    let of_host =
        session.pool.record::<Host>(&vm.resident_on).await.or_gone(session)?.map(|host| host.suspend_image_sr);
    let candidates = [Some(vm.suspend_sr.clone()), Some(of_pool), of_host];
    let Some(sr) = candidates.into_iter().flatten().find_map(|sr| srs.get(&sr)) else {
        let text = format!("pool {} has no SR for the memory of VM {}", session.client.name, vm.name_label);
        return Err(Problem::new("sr.no_suspend", text)
            .hint("set suspend-image-SR of the pool: xe pool-param-set uuid=… suspend-image-SR=…")
            .about(&vm.uuid)
            .into());
    };
    let memory = u64::try_from(vm.memory_static_max).unwrap_or(0);
    // A thick SR takes the size once more for the snapshot of the image.
    let needed = if sr::is_thick(sr) { memory.saturating_mul(2) } else { memory };
    match sr.free_bytes() {
        Some(free) if free < needed => {
            let text = format!(
                "SR {} has {} free, the memory of VM {} needs up to {}",
                sr.name_label,
                bytes(free),
                vm.name_label,
                bytes(needed)
            );
            Err(Problem::new("sr.full", text)
                .hint("free some space in the SR, or set another suspend-SR")
                .about(&sr.uuid)
                .into())
        }
        _ => Ok(()),
    }
}
