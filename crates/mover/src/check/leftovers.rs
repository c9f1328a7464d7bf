//! What bears our mark on the pool though no job works on it.

use std::collections::{BTreeMap, HashMap};

use xapi::{
    VdiRef, VmRef,
    record::{Vdi, Vm},
};
use xenkeep_api::{Check, JobId};

use crate::{
    context::{JobContext, Stop},
    session::{OrStop, Session},
    tag,
};

/// How many are named.
const NAMED: usize = 10;

/// Looks for VMs, snapshots and disks of this installation that no unfinished job explains.
pub(super) async fn look(cx: &JobContext, session: &Session, unfinished: &[JobId]) -> Result<Check, Stop> {
    const ID: &str = "leftovers";
    let ours = session.client.id.to_string();
    let mut others = 0_usize;
    let mut left = Vec::new();
    let mut judge = |what: &str, name: &str, uuid: &str, marks: &BTreeMap<String, String>| {
        let Some(job) = marks.get(tag::JOB).and_then(|job| job.parse::<JobId>().ok()) else { return };
        if marks.get(tag::CLIENT) != Some(&ours) {
            others += 1;
        } else if job != cx.job && !unfinished.contains(&job) {
            left.push(format!("{what} {name:?} ({uuid}) of job {job}"));
        }
    };
    let vms: HashMap<VmRef, Vm> = session.pool.records().await.or_stop(session)?;
    for vm in vms.values() {
        judge(if vm.is_a_snapshot { "snapshot" } else { "VM" }, &vm.name_label, &vm.uuid, &vm.other_config);
    }
    let vdis: HashMap<VdiRef, Vdi> = session.pool.records().await.or_stop(session)?;
    // A disk of a VM or snapshot that was named already need not be named again.
    for vdi in vdis.values().filter(|vdi| vdi.vbds.is_empty()) {
        judge("disk", &vdi.name_label, &vdi.uuid, &vdi.other_config);
    }
    let foreign = match others {
        0 => String::new(),
        others => format!("; {others} thing(s) of another xenkeep are left alone"),
    };
    if left.is_empty() {
        return Ok(Check::ok(ID, format!("nothing of ours is left on the pool{foreign}")));
    }
    left.sort();
    let count = left.len();
    left.truncate(NAMED);
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    Ok(Check::warning(ID, format!("{count} thing(s) of ours are left on the pool: {}{more}{foreign}", left.join(", ")))
        .because("a job was interrupted and its recovery has not been through yet, or its journal was lost")
        .cure(
            "the next backup of the VM removes its snapshots; what stays for days can be removed by hand, by its uuid",
        ))
}
