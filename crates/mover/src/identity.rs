//! Who a VM is: the fields of its metadata that must be changed so that what was exported from a *snapshot* becomes the VM
//! again, or a new one beside it.
//!
//! A snapshot's record bears the snapshot's own uuid and name, is a template, has lost start order and delays, and so have
//! its VIFs and VBDs their uuids (xapi: xapi_vm_clone.ml). The true ones stand in `point.json`.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;
use xenkeep_disk::{
    value::{Struct, Value},
    xva::Ova,
};

use crate::{guests, point::PointFile, tag};

/// Key of `other_config` from which MACs are computed (xapi: xapi_vif_helpers.ml).
const MAC_SEED: &str = "mac_seed";

/// Who a VM was when its point was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    pub(crate) uuid: String,
    pub(crate) name: String,
    description: String,
    is_a_template: bool,
    ha_restart_priority: String,
    /// Whole numbers of the VM record that a snapshot loses.
    numbers: Vec<(&'static str, i64)>,
    mac_seed: Option<String>,
    /// uuid by `userdevice`.
    vbds: BTreeMap<String, String>,
    /// uuid and MAC by `device`.
    vifs: BTreeMap<String, Vif>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Vif {
    uuid: String,
    mac: String,
}

impl Identity {
    /// As `point.json` has it.
    pub(crate) fn of(point: &PointFile) -> Self {
        let vm = &point.records.vm;
        let number = |field| integer(&vm[field]).map(|number| (field, number));
        let by = |records: &[Json], position: &str| -> BTreeMap<String, Json> {
            records.iter().map(|record| (text(record, position), record.clone())).collect()
        };
        Self {
            uuid: point.source().id.clone(),
            name: point.source().name.clone(),
            description: text(vm, "name_description"),
            is_a_template: vm["is_a_template"].as_bool().unwrap_or(false),
            ha_restart_priority: text(vm, "ha_restart_priority"),
            numbers: ["order", "start_delay", "shutdown_delay"].into_iter().filter_map(number).collect(),
            mac_seed: vm["other_config"][MAC_SEED].as_str().map(str::to_owned),
            vbds: by(&point.records.vbds, "userdevice")
                .into_iter()
                .map(|(position, vbd)| (position, text(&vbd, "uuid")))
                .collect(),
            vifs: by(&point.records.vifs, "device")
                .into_iter()
                .map(|(device, vif)| (device, Vif { uuid: text(&vif, "uuid"), mac: text(&vif, "MAC") }))
                .collect(),
        }
    }

    /// What the MACs are computed from.
    pub(crate) fn mac_seed(&self) -> Option<&str> {
        self.mac_seed.as_deref()
    }

    /// MACs by device.
    pub(crate) fn macs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vifs.iter().map(|(device, vif)| (device.as_str(), vif.mac.as_str()))
    }

    /// Makes the VM of `ova` the one that was backed up: uuids, name, MACs.
    pub(crate) fn put_on(&self, ova: &mut Ova) {
        strip_tags(ova);
        for vm in ova.of_class_mut("VM") {
            let vm = &mut vm.snapshot;
            vm.set("uuid", self.uuid.as_str());
            vm.set("name_label", self.name.as_str());
            vm.set("name_description", self.description.as_str());
            vm.set("ha_restart_priority", self.ha_restart_priority.as_str());
            for (field, number) in &self.numbers {
                vm.set(field, Value::decimal(*number));
            }
            if let Some(seed) = &self.mac_seed {
                vm.map_mut("other_config").set(MAC_SEED, seed.as_str());
            }
            // A request of the time when it was frozen is not for who starts it now.
            let data = vm.map_mut("xenstore_data");
            let ours: Vec<String> =
                data.iter().map(|(key, _)| key).filter(|key| guests::is_ours(key)).map(str::to_owned).collect();
            ours.iter().for_each(|key| drop(data.remove(key)));
            no_snapshot(vm, self.is_a_template);
        }
        for vbd in ova.of_class_mut("VBD") {
            if let Some(uuid) = self.vbds.get(vbd.text("userdevice")) {
                vbd.snapshot.set("uuid", uuid.as_str());
            }
        }
        for vif in ova.of_class_mut("VIF") {
            if let Some(known) = self.vifs.get(vif.text("device")) {
                vif.snapshot.set("uuid", known.uuid.as_str());
                vif.snapshot.set("MAC", known.mac.as_str());
            }
        }
    }

    /// Makes the VM of `ova` a new one of that name. A second copy must not compete with the first for a restart by high
    /// availability. uuids and MACs are the importing pool's to renew.
    pub(crate) fn beside(&self, ova: &mut Ova, name: &str) {
        self.put_on(ova);
        for vm in ova.of_class_mut("VM") {
            vm.snapshot.set("name_label", name);
            vm.snapshot.set("ha_restart_priority", "");
        }
        renew_vtpms(ova);
    }
}

/// Makes a suspended VM of `ova` one that is off, without the image of its memory.
pub(crate) fn switch_off(ova: &mut Ova, memory: &str) {
    for vm in ova.of_class_mut("VM") {
        vm.snapshot.set("power_state", "Halted");
    }
    ova.remove(&[memory]);
}

/// Gives the virtual TPMs of `ova` uuids of their own: a pool refuses one that it has already (xapi: import.ml), as after
/// an earlier restore of the same point.
pub(crate) fn renew_vtpms(ova: &mut Ova) {
    for vtpm in ova.of_class_mut("VTPM") {
        vtpm.snapshot.set("vTPM'_uuid", Uuid::new_v4().to_string());
    }
}

/// Marks the VM and the disks of `ova`, so that they bear the job's mark from their first moment on a pool.
pub(crate) fn put_tags(ova: &mut Ova, tags: &[(&'static str, String)]) {
    for class in ["VM", "VDI"] {
        for object in ova.of_class_mut(class) {
            let other_config = object.snapshot.map_mut("other_config");
            for (key, value) in tags {
                other_config.set(key, value.as_str());
            }
        }
    }
}

/// Takes our marks, and XAPI's of an import, out of `ova`.
pub(crate) fn strip_tags(ova: &mut Ova) {
    for object in &mut ova.objects {
        let Some(Value::Struct(other_config)) = object.snapshot.get_mut("other_config") else { continue };
        let ours: Vec<String> = other_config
            .iter()
            .map(|(key, _)| key)
            .filter(|key| key.starts_with(tag::PREFIX) || *key == tag::IMPORT_TASK)
            .map(str::to_owned)
            .collect();
        for key in ours {
            other_config.remove(&key);
        }
    }
}

/// A snapshot's record no more.
fn no_snapshot(vm: &mut Struct, is_a_template: bool) {
    vm.set("is_a_template", is_a_template);
    vm.set("is_a_snapshot", false);
    vm.set("snapshot_of", "OpaqueRef:NULL");
    vm.set("parent", "OpaqueRef:NULL");
    vm.set("snapshot_metadata", "");
    vm.set("transportable_snapshot_id", "");
    vm.set("snapshot_info", Struct::new());
}

fn text(record: &Json, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_owned()
}

/// XAPI's 64-bit integers come as numbers or as text.
fn integer(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
