//! What a source means on a pool at this moment.

use std::collections::HashMap;

use wildmatch::WildMatch;
use xapi::{
    HostRef, VmRef,
    record::{Host, Vm},
};
use xenkeep_api::{ClientAccess, JobResult, Selected, SelectedHost, SelectedVm, Selection, Source};

use crate::{
    context::{JobContext, Stop},
    inventory::power_state,
    session::{OrStop, Session},
};

/// Looks which VMs or hosts `source` means.
pub(crate) async fn select(cx: &JobContext, client: &ClientAccess, source: &Source) -> Result<JobResult, Stop> {
    cx.step("select");
    let session = Session::open(cx, client, None).await?;
    let found = cx.or_cancelled(found(&session, source)).await;
    session.close().await;
    let selected = found?;
    for vm in &selected.vms {
        cx.info(format!("VM {} ({}), {}", vm.name, vm.uuid, vm.power_state));
    }
    if matches!(source, Source::Selection(_)) && selected.vms.is_empty() {
        let text = format!("no VM of pool {} fits {source}", client.name);
        cx.warn(xenkeep_api::Problem::new("task.selects_nothing", text).hint("look at the task's source"));
    }
    Ok(JobResult::Selected { selected })
}

async fn found(session: &Session, source: &Source) -> Result<Selected, Stop> {
    let pool = &session.pool;
    let mut selected = Selected::default();
    match source {
        Source::Vm { vm, .. } => {
            selected.vms = pool.find_vms(vm).await.or_stop(session)?.into_iter().map(|(_, vm)| shown(vm)).collect();
        }
        Source::Selection(selection) => {
            let all: HashMap<VmRef, Vm> = pool.records().await.or_stop(session)?;
            let vms = all.into_values().filter(|vm| vm.is_backup_source() && !vm.is_a_template).map(shown);
            selected.vms = vms.filter(|vm| takes(selection, vm)).collect();
        }
        Source::HostBackup { host } => {
            let all: HashMap<HostRef, Host> = pool.records().await.or_stop(session)?;
            let hosts = all.into_values().map(|host| SelectedHost { uuid: host.uuid, name: host.name_label });
            let meant =
                |found: &SelectedHost| host.as_ref().is_none_or(|host| found.name == *host || found.uuid == *host);
            selected.hosts = hosts.filter(meant).collect();
        }
        Source::MetaData => {}
    }
    selected.vms.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    selected.hosts.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    Ok(selected)
}

fn shown(vm: Vm) -> SelectedVm {
    SelectedVm { power_state: power_state(&vm.power_state), uuid: vm.uuid, name: vm.name_label, tags: vm.tags }
}

/// Whether a selection takes a VM.
pub(crate) fn takes(selection: &Selection, vm: &SelectedVm) -> bool {
    let (states, exclude) = (&selection.power_states, &selection.exclude);
    let named_only_by_state = selection.tags.is_empty() && selection.names.is_empty() && !states.is_empty();
    let wanted =
        selection.all || has_tag(&selection.tags, vm) || fits(&selection.names, &vm.name) || named_only_by_state;
    let excluded = exclude.vms.iter().any(|name| *name == vm.name || name.eq_ignore_ascii_case(&vm.uuid))
        || has_tag(&exclude.tags, vm)
        || fits(&exclude.names, &vm.name);
    wanted && (states.is_empty() || states.contains(&vm.power_state)) && !excluded
}

fn has_tag(tags: &[String], vm: &SelectedVm) -> bool {
    tags.iter().any(|tag| vm.tags.contains(tag))
}

/// One of the shell patterns fits.
pub(crate) fn fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| WildMatch::new_case_insensitive(pattern).matches(name))
}

#[cfg(test)]
mod tests;
