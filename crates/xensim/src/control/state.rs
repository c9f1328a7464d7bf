//! What is in the pool, in few words: enough to see whether a client has left something behind.

use serde_json::{Value as Json, json};

use crate::guest::disks;
use crate::model::{Class, Map, Ref, Tables};

/// The state as JSON.
pub(super) fn of(t: &Tables) -> Json {
    let vms = t.all(Class::Vm);
    let dom0s = vms.iter().filter(|vm| t.bool(vm, "is_control_domain"));
    let dom0_vbds: Vec<Json> = dom0s.flat_map(|dom0| t.references(dom0, "VBDs")).map(|vbd| vbd_of(t, &vbd)).collect();
    let snapshots = vms.iter().filter(|vm| t.bool(vm, "is_a_snapshot"));
    let own = |vm: &&Ref| !t.bool(vm, "is_control_domain") && !crate::ops::allowed::is_default_template(t, vm);
    json!({
        "snapshots": snapshots.map(|vm| vm_of(t, vm)).collect::<Vec<_>>(),
        "vms": vms.iter().filter(own).map(|vm| vm_of(t, vm)).collect::<Vec<_>>(),
        "vdis": t.all(Class::Vdi).iter().map(|vdi| vdi_of(t, vdi)).collect::<Vec<_>>(),
        "srs": t.all(Class::Sr).iter().map(|sr| sr_of(t, sr)).collect::<Vec<_>>(),
        "networks": t.all(Class::Network).iter().map(|network| network_of(t, network)).collect::<Vec<_>>(),
        "tasks": t.all(Class::Task).iter().map(|task| task_of(t, task)).collect::<Vec<_>>(),
        "sessions": t.all(Class::Session).iter().map(|session| session_of(t, session)).collect::<Vec<_>>(),
        "dom0_vbds": dom0_vbds,
    })
}

fn vm_of(t: &Tables, vm: &Ref) -> Json {
    let vifs = t.references(vm, "VIFs");
    let disks = disks(t, vm);
    json!({
        "ref": vm.as_str(),
        "uuid": t.str(vm, "uuid"),
        "name": t.str(vm, "name_label"),
        "power_state": t.str(vm, "power_state"),
        "is_template": t.bool(vm, "is_a_template"),
        "is_snapshot": t.bool(vm, "is_a_snapshot"),
        "snapshot_of": t.str(&t.reference(vm, "snapshot_of"), "uuid"),
        "version": t.int(vm, "version"),
        "macs": vifs.iter().map(|vif| t.str(vif, "MAC")).collect::<Vec<_>>(),
        "networks": vifs.iter().map(|vif| t.str(&t.reference(vif, "network"), "name_label")).collect::<Vec<_>>(),
        "disks": disks.iter().map(|(_, vdi)| t.str(vdi, "uuid")).collect::<Vec<_>>(),
        "other_config": texts(&t.map(vm, "other_config")),
        "current_operations": texts(&t.map(vm, "current_operations")),
        "blocked_operations": texts(&t.map(vm, "blocked_operations")),
    })
}

fn vdi_of(t: &Tables, vdi: &Ref) -> Json {
    json!({
        "ref": vdi.as_str(),
        "uuid": t.str(vdi, "uuid"),
        "name": t.str(vdi, "name_label"),
        "sr": t.str(&t.reference(vdi, "SR"), "name_label"),
        "size": t.int(vdi, "virtual_size"),
        "managed": t.bool(vdi, "managed"),
        "snapshot": t.bool(vdi, "is_a_snapshot"),
        "snapshot_of": t.str(&t.reference(vdi, "snapshot_of"), "uuid"),
        "other_config": texts(&t.map(vdi, "other_config")),
        "sm_config": texts(&t.map(vdi, "sm_config")),
        "vbds": t.references(vdi, "VBDs").iter().map(|vbd| vbd_of(t, vbd)).collect::<Vec<_>>(),
    })
}

fn vbd_of(t: &Tables, vbd: &Ref) -> Json {
    let vm = t.reference(vbd, "VM");
    json!({
        "ref": vbd.as_str(),
        "uuid": t.str(vbd, "uuid"),
        "vm": t.str(&vm, "uuid"),
        "vm_name": t.str(&vm, "name_label"),
        "is_dom0": t.bool(&vm, "is_control_domain"),
        "vdi": t.str(&t.reference(vbd, "VDI"), "uuid"),
        "userdevice": t.str(vbd, "userdevice"),
        "attached": t.bool(vbd, "currently_attached"),
    })
}

fn sr_of(t: &Tables, sr: &Ref) -> Json {
    json!({
        "ref": sr.as_str(),
        "uuid": t.str(sr, "uuid"),
        "name": t.str(sr, "name_label"),
        "physical_size": t.int(sr, "physical_size"),
        "physical_utilisation": t.int(sr, "physical_utilisation"),
    })
}

fn network_of(t: &Tables, network: &Ref) -> Json {
    json!({ "uuid": t.str(network, "uuid"), "name": t.str(network, "name_label"), "bridge": t.str(network, "bridge") })
}

fn task_of(t: &Tables, task: &Ref) -> Json {
    json!({
        "ref": task.as_str(),
        "name": t.str(task, "name_label"),
        "status": t.str(task, "status"),
        "error": t.texts(task, "error_info"),
    })
}

fn session_of(t: &Tables, session: &Ref) -> Json {
    json!({ "user": t.str(session, "auth_user_name"), "originator": t.str(session, "originator") })
}

/// The texts of a map.
fn texts(map: &Map) -> Json {
    map.iter()
        .filter_map(|(key, value)| Some((key.clone(), json!(value.as_str()?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
