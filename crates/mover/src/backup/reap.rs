//! Removes what an earlier run left of this VM: snapshots that bear our mark and that nobody works on.
//!
//! The journal sees to that after a crash; this is for journals that were lost. Only marks of this very installation
//! count: another xenkeep may be backing up the same VM at this moment. Jobs of one VM never run at once, so what bears
//! our mark is left over.

use xapi::{VmRef, record::Vm};
use xenkeep_api::JobId;

use crate::{
    context::{JobContext, Stop},
    journal::SnapshotMade,
    session::Session,
    tag, undo,
};

/// Removes leftovers of this installation.
pub(super) async fn reap(cx: &JobContext, session: &Session, (_, vm): &(VmRef, Vm)) -> Result<(), Stop> {
    cx.step("reap");
    for snapshot in &vm.snapshots {
        cx.check()?;
        let snapshot: Vm = match session.pool.record(snapshot).await {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(session.stop(&error)),
        };
        let mark = |key| snapshot.other_config.get(key).map(String::as_str);
        let Some(job) = mark(tag::JOB).and_then(|job| job.parse::<JobId>().ok()) else { continue };
        if mark(tag::CLIENT) != Some(session.client.id.to_string().as_str()) {
            cx.note(format!("snapshot {} was made by another xenkeep: left alone", snapshot.name_label));
            continue;
        }
        if job == cx.job {
            continue;
        }
        cx.info(format!("an earlier run left snapshot {}: removing it", snapshot.name_label));
        let made = SnapshotMade {
            job,
            vm_uuid: vm.uuid.clone(),
            name: snapshot.name_label.clone(),
            vdis: Vec::new(),
            tasks: Vec::new(),
        };
        // A leftover that can't be removed does not hinder a backup.
        if let Err(stop) = undo::snapshot(cx, session, made, None).await {
            cx.note(format!("snapshot {} can't be removed: {}", snapshot.name_label, stop.text()));
        }
    }
    Ok(())
}
