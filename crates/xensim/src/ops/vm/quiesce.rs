//! Quiesced snapshots: the guest writes out what it holds, and waits. Releases up to 8.0 had them, for Windows guests (VSS).

use super::{
    begin,
    duplicate::{Way, twin_of},
};
use crate::{
    error::ApiError,
    model::{Ref, Value},
    ops,
    rpc::{Args, Ctx, Later},
};

/// A machine whose guest takes part has this in its `other_config`: a word of [`crate::config::Vss`].
pub(crate) const VSS_KEY: &str = "xensim-vss";

/// Who freezes a guest for a quiesced snapshot.
const PLUGIN: &str = "VSS";

pub(super) fn snapshot_with_quiesce(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let vm = args.reference(0);
        let running = begin(&ctx.world, &vm, "snapshot_with_quiesce", &ctx.task)?;
        ctx.world.check_licence("restrict_vss", PLUGIN)?;
        quiesce(&ctx, &vm).await?;
        ctx.world.domains.change(&vm, |domain| domain.frozen_by = Some(PLUGIN.to_owned()));
        let made = twin_of(&ctx, &vm, &args.text(1), Way::Quiesced, &[]).await;
        ctx.world.domains.change(&vm, |domain| domain.frozen_by = None);
        let snapshot = made?;
        running.end();
        ctx.world.db.write(|t| ops::refresh(t, &snapshot));
        Ok(Value::from(snapshot))
    })
}

/// Has the guest quiesce, or fail to.
async fn quiesce(ctx: &Ctx, vm: &Ref) -> Result<(), ApiError> {
    let behaviour = ctx.world.db.read(|t| t.entry(vm, "other_config", VSS_KEY)).unwrap_or_default();
    match behaviour.as_str() {
        "works" => Ok(()),
        "times-out" => {
            tokio::time::sleep(ctx.world.timing.quiesce).await;
            Err(ApiError::new("VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT", [vm]))
        }
        // The code is spelt so (xapi: datamodel_errors.ml).
        "silent" => Err(ApiError::new("VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND", [vm])),
        _ => Err(ApiError::new("VM_SNAPSHOT_WITH_QUIESCE_FAILED", [vm])),
    }
}
