//! Checkpoints: a snapshot with the memory, for which a machine that runs is suspended and resumed (xapi: xapi_vm_snapshot.ml).

use std::time::Duration;

use super::{
    begin,
    duplicate::{Way, twin_of},
    guest, power,
};
use crate::{
    error::ApiError,
    fault::FaultKind,
    model::{Ref, Value},
    ops,
    rpc::{Args, Ctx, Later},
};

pub(super) fn checkpoint(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let vm = args.reference(0);
        let running = begin(&ctx.world, &vm, "checkpoint", &ctx.task)?;
        ctx.world.check_licence("restrict_checkpoint", "Checkpoint")?;
        let checkpoint = take(&ctx, &vm, &args.text(1)).await?;
        running.end();
        ctx.world.db.write(|t| ops::refresh(t, &checkpoint));
        Ok(Value::from(checkpoint))
    })
}

async fn take(ctx: &Ctx, vm: &Ref, name: &str) -> Result<Ref, ApiError> {
    let world = &ctx.world;
    let (state, host, attached) = world.db.read(|t| {
        let attached = t.references(vm, "VBDs").into_iter().filter(|vbd| t.bool(vbd, "currently_attached")).collect();
        (t.str(vm, "power_state"), t.reference(vm, "resident_on"), attached)
    });
    let runs = state == "Running";
    if runs {
        if world.faults.strike(FaultKind::FailSuspend).is_some() {
            return Err(ApiError::new("VM_CHECKPOINT_SUSPEND_FAILED", [vm]));
        }
        power::put_to_sleep(world, vm).await?;
    }
    let made = twin_of(ctx, vm, name, Way::Checkpoint { state, attached }, &[]).await;
    if runs {
        if world.faults.strike(FaultKind::FailResume).is_some() {
            return Err(ApiError::new("VM_CHECKPOINT_RESUME_FAILED", [vm]));
        }
        tokio::time::sleep(world.timing.start).await;
        power::wake(world, vm, &host, false).await?;
        guest::report_after(world, vm, Duration::ZERO);
    }
    made
}
