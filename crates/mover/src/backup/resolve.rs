//! Which VM is meant.

use xapi::{VmRef, record::Vm};
use xenkeep_api::Problem;

use crate::{
    context::{JobContext, Stop},
    session::{OrStop, Session},
};

/// The VM that `wanted` (uuid or name-label) means. A name that two VMs bear means none.
pub(super) async fn resolve(cx: &JobContext, session: &Session, wanted: &str) -> Result<(VmRef, Vm), Stop> {
    cx.step("resolve");
    let mut sources = cx.or_cancelled(async { session.pool.find_vms(wanted).await.or_stop(session) }).await?;
    let pool = &session.client.name;
    match (sources.pop(), sources.is_empty()) {
        (Some(vm), true) => {
            cx.info(format!("VM {} ({}), {}", vm.1.name_label, vm.1.uuid, vm.1.power_state));
            Ok(vm)
        }
        (Some(last), false) => {
            sources.push(last);
            let mut uuids: Vec<String> = sources.into_iter().map(|(_, vm)| vm.uuid).collect();
            uuids.sort();
            Err(Problem::new(
                "vm.name_ambiguous",
                format!("pool {pool} has {} VMs called {wanted:?}: {}", uuids.len(), uuids.join(", ")),
            )
            .hint("name the VM by its uuid")
            .about(wanted)
            .into())
        }
        (None, _) => Err(Problem::new("vm.not_found", format!("pool {pool} has no VM {wanted:?}"))
            .hint(format!("xenkeep vm list {pool} shows all VMs"))
            .about(wanted)
            .into()),
    }
}
