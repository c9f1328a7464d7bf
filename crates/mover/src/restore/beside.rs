//! Restore beside whatever is there: a new VM, new uuid, new MACs.

use xapi::VmRef;
use xenkeep_api::Problem;

use super::{
    import::{self, Imported, Source},
    plan::Planned,
};
use crate::{
    context::{JobContext, Stop},
    identity,
    journal::{ImportMade, Made},
    open::OpenPoint,
    session::{OrStop, Session},
    tag, undo,
};

/// Restores the point as a new VM called `name`.
pub(super) async fn restore(
    cx: &JobContext,
    session: &Session,
    point: &OpenPoint,
    name: &str,
    planned: &Planned,
) -> Result<VmRef, Stop> {
    let mut ova = point.ova();
    point.identity().beside(&mut ova, name);
    identity::put_tags(&mut ova, &tag::tags(cx.job, session.client.id, "restore"));
    let mut made = ImportMade { job: cx.job, task: None, vdis: Vec::new() };
    let entry = cx.journal.write(&Made::Import(made.clone())).await?;
    planned.networks.put_on(&mut ova);
    let source = Source { point, ova, restore: false, planned };
    let done = async {
        let imported = import::import(cx, session, source, entry, &mut made).await?;
        finish(cx, session, &imported).await?;
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

/// Takes the marks off: from here on the VM is the administrator's.
pub(super) async fn finish(cx: &JobContext, session: &Session, imported: &Imported) -> Result<(), Stop> {
    cx.check()?;
    let vdis: Vec<String> = imported.disks.iter().map(|disk| disk.vdi_uuid.clone()).collect();
    undo::strip_marks(session, &imported.vm, &vdis).await
}

/// Names are not unique on a pool, but whoever asks for a new VM does not mean to have two of one name.
pub(super) async fn check_name(session: &Session, name: &str) -> Result<(), Stop> {
    if name.trim().is_empty() {
        return Err(Problem::new("vm.name_missing", "a VM that is restored beside needs a name")
            .hint("give one with --as")
            .into());
    }
    let same = session.pool.find_vms(name).await.or_stop(session)?;
    match same.iter().find(|(_, vm)| vm.name_label == name) {
        Some((_, vm)) => Err(Problem::new(
            "vm.name_taken",
            format!("pool {} already has a VM called {name:?} ({})", session.client.name, vm.uuid),
        )
        .hint("choose another name with --as, or restore over the original with --overwrite")
        .about(name)
        .into()),
        None => Ok(()),
    }
}
