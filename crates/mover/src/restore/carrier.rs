//! Disks of one VM on several SRs.
//!
//! XAPI's import has one SR a request (xapi: import.ml), and nothing else moves a disk without writing it twice: `VDI.copy`
//! and `pool_migrate` read what has just been written, and need the room for both meanwhile; an import of single disks
//! knows raw and VHD, and leaves the VM's own metadata to be rebuilt by hand. So each further SR gets an import of its own:
//! of a *carrier*, the VM stripped down to the disks of that SR. Its disks are then plugged into the VM, and its record goes
//! (a record never takes its disks along). Every pool can do that, each byte is sent and written once, and all of it bears
//! the job's mark, so that undoing finds it.

use std::collections::BTreeMap;

use xapi::{NewVbd, VmRef, record::VbdType};
use xenkeep_disk::xva::Ova;

use crate::{
    context::Stop,
    point::MEMORY,
    session::{OrStop, Session},
    undo,
};

/// What a carrier does not need of a VM.
const LEFT_OUT: [&str; 9] =
    ["VIF", "network", "VTPM", "VGPU", "VGPU_type", "GPU_group", "PVS_proxy", "PVS_site", "VM_guest_metrics"];

/// The VM with the disks at `positions` alone.
pub(super) fn only(ova: &Ova, positions: &[String]) -> Ova {
    let mut ova = ova.clone();
    let mut gone = Vec::new();
    for disk in ova.disks().unwrap_or_default() {
        // The image of suspended memory stands at no position of the VM.
        let position = if disk.vbd.is_none() { MEMORY } else { &disk.userdevice };
        if !positions.iter().any(|wanted| wanted == position) {
            gone.extend(disk.vbd);
            gone.push(disk.id);
        }
    }
    ova.remove(&gone.iter().map(String::as_str).collect::<Vec<_>>());
    ova
}

/// A carrier of the disks at `positions`.
pub(super) fn ova(ova: &Ova, positions: &[String], sr: &str) -> Ova {
    let mut ova = only(ova, positions);
    let disks: Vec<String> = ova.disks().unwrap_or_default().into_iter().filter_map(|disk| disk.vbd).collect();
    let gone: Vec<String> = ova
        .objects
        .iter()
        .filter(|object| {
            LEFT_OUT.contains(&object.class.as_str()) || (object.class == "VBD" && !disks.contains(&object.id))
        })
        .map(|object| object.id.clone())
        .collect();
    ova.remove(&gone.iter().map(String::as_str).collect::<Vec<_>>());
    for vm in ova.of_class_mut("VM") {
        let name = format!("{} (disks for {sr})", vm.text("name_label"));
        vm.snapshot.set("name_label", name);
        vm.snapshot.set("is_a_template", false);
        vm.snapshot.set("power_state", "Halted");
        vm.snapshot.set("ha_restart_priority", "");
    }
    ova
}

/// Plugs the disks of `carrier` into `vm` at the positions that they have, and removes the carrier's record.
pub(super) async fn unload(session: &Session, carrier: &VmRef, vm: &VmRef) -> Result<(), Stop> {
    let record = session.pool.vm(carrier).await.or_stop(session)?;
    for (_, vbd, vdi) in session.pool.vm_disks(&record).await.or_stop(session)? {
        let (VbdType::Disk, Some((vdi, _))) = (&vbd.kind, vdi) else { continue };
        let plugged = NewVbd {
            vm: vm.clone(),
            vdi,
            userdevice: vbd.userdevice,
            bootable: vbd.bootable,
            read_only: vbd.mode == "RO",
            other_config: vbd.other_config.into_iter().collect::<BTreeMap<_, _>>(),
        };
        session.pool.vbd_create(&plugged).await.or_stop(session)?;
    }
    undo::destroy_vm(session, carrier).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use xenkeep_disk::value::{Struct, Value};

    use super::*;

    fn record(fields: &[(&str, &str)]) -> Struct {
        fields.iter().map(|(name, value)| (*name, Value::from(*value))).collect()
    }

    fn vm() -> Ova {
        let mut ova = Ova::new(Struct::new());
        ova.push("VM", "Ref:0", record(&[("name_label", "web1"), ("is_a_template", "")]));
        ova.push("VIF", "Ref:1", record(&[("VM", "Ref:0"), ("device", "0")]));
        ova.push("SR", "Ref:9", record(&[("content_type", "user")]));
        for (position, vdi, vbd) in [("0", "Ref:2", "Ref:3"), ("1", "Ref:4", "Ref:5")] {
            ova.push("VDI", vdi, record(&[("SR", "Ref:9"), ("virtual_size", "4096")]));
            let fields = [("VM", "Ref:0"), ("VDI", vdi), ("type", "Disk"), ("userdevice", position)];
            ova.push("VBD", vbd, record(&fields));
        }
        ova.push("VBD", "Ref:6", record(&[("VM", "Ref:0"), ("type", "CD"), ("userdevice", "3")]));
        ova
    }

    fn ids(ova: &Ova) -> Vec<&str> {
        ova.objects.iter().map(|object| object.id.as_str()).collect()
    }

    #[test]
    fn the_vm_keeps_all_but_the_other_disks() {
        assert_eq!(ids(&only(&vm(), &["0".to_owned()])), ["Ref:0", "Ref:1", "Ref:9", "Ref:2", "Ref:3", "Ref:6"]);
        assert_eq!(only(&vm(), &["0".to_owned(), "1".to_owned()]), vm());
    }

    #[test]
    fn a_carrier_has_its_disks_and_no_card() {
        let carrier = ova(&vm(), &["1".to_owned()], "Fast");
        assert_eq!(ids(&carrier), ["Ref:0", "Ref:9", "Ref:4", "Ref:5"]);
        assert_eq!(carrier.vm().unwrap().text("name_label"), "web1 (disks for Fast)");
    }
}
