//! Virtual machines of the description.

use crate::{
    config::{DiskContent, VmConfig},
    error::ApiError,
    guest::HOOK_KEY,
    model::{Class, Ref, Value},
    ops::{self, vdi, vif},
    world::World,
};

/// A disk that waits for its content.
#[derive(Clone, Debug)]
pub struct NewDisk {
    /// Its VDI.
    pub vdi: Ref,
    /// The VDI's uuid, which names it in the storage.
    pub uuid: String,
}

impl World {
    /// Makes the objects of one virtual machine, halted, with disks of zeros. `sizes` are the sizes of its disks in
    /// bytes. Returns the machine and its disks in order, for the caller to fill.
    pub fn add_vm(&self, described: &VmConfig, sizes: &[u64]) -> Result<(Ref, Vec<NewDisk>), ApiError> {
        let vm = self.add_machine(described);
        let mut disks = Vec::new();
        for (position, (disk, size)) in described.disks.iter().zip(sizes).enumerate() {
            let sr = self.sr_named(disk.sr.as_deref())?;
            let fallback = match &disk.content {
                DiskContent::Empty(_) | DiskContent::Image(_) => format!("{} {position}", described.name),
            };
            let name = if disk.name.is_empty() { fallback } else { disk.name.clone() };
            let vdi = vdi::create_empty(self, &sr, &name, *size, "user")?;
            self.db.write(|t| ops::vbd::attach_disk(t, &vm, &vdi, position, position == 0));
            let uuid = self.db.read(|t| t.str(&vdi, "uuid"));
            disks.push(NewDisk { vdi, uuid });
        }
        for (device, network) in described.networks.iter().enumerate() {
            let network = self.db.read(|t| t.by_name(Class::Network, network)).into_iter().next();
            let Some(network) = network else {
                return Err(ApiError::value("network", &described.networks[device]));
            };
            self.db.write(|t| vif::attach(t, &vm, &network, device))?;
        }
        self.db.write(|t| ops::refresh(t, &vm));
        Ok((vm, disks))
    }

    /// Lets a machine run at once, its guest up.
    pub fn power_on(&self, vm: &Ref) {
        ops::vm::boot_now(self, vm);
    }

    fn sr_named(&self, name: Option<&str>) -> Result<Ref, ApiError> {
        self.db.read(|t| match name {
            Some(name) => t.by_name(Class::Sr, name).into_iter().next().ok_or_else(|| ApiError::value("SR", name)),
            None => {
                let sr = t.reference(self.pool(), "default_SR");
                if t.has(Class::Sr, &sr) { Ok(sr) } else { Err(ApiError::new("DEFAULT_SR_NOT_FOUND", [&sr])) }
            }
        })
    }

    fn add_machine(&self, described: &VmConfig) -> Ref {
        let memory = i64::try_from(described.memory_bytes).unwrap_or(i64::MAX);
        let firmware = if described.uefi { "uefi" } else { "bios" };
        let mut other_config = vec![("mac_seed".to_owned(), uuid::Uuid::new_v4().to_string())];
        if !described.guest_tools {
            other_config.push((ops::vm::NO_TOOLS_KEY.to_owned(), "true".to_owned()));
        }
        for (key, word) in [(ops::vm::VSS_KEY, described.vss.word()), (HOOK_KEY, described.hook.as_str())] {
            if !matches!(word, "" | "missing") {
                other_config.push((key.to_owned(), word.to_owned()));
            }
        }
        let variables = Some(&described.uefi_variables).filter(|variables| !variables.is_empty());
        let vm = self.db.write(|t| {
            let vm = t.create(
                Class::Vm,
                [
                    ("name_label", Value::from(described.name.as_str())),
                    ("is_a_template", Value::Bool(described.template)),
                    ("power_state", Value::from("Halted")),
                    ("memory_static_max", Value::Int(memory)),
                    ("memory_dynamic_max", Value::Int(memory)),
                    ("memory_dynamic_min", Value::Int(memory)),
                    ("memory_static_min", Value::Int(memory / 2)),
                    ("VCPUs_max", Value::Int(i64::from(described.vcpus))),
                    ("VCPUs_at_startup", Value::Int(i64::from(described.vcpus))),
                    ("actions_after_shutdown", Value::from("destroy")),
                    ("actions_after_reboot", Value::from("restart")),
                    ("actions_after_crash", Value::from("restart")),
                    ("HVM_boot_policy", Value::from("BIOS order")),
                    ("HVM_boot_params", Value::map([("order", "cdn"), ("firmware", firmware)])),
                    ("platform", ops::default_platform(described.uefi)),
                    ("other_config", Value::map(other_config)),
                    ("domid", Value::Int(-1)),
                    ("domain_type", Value::from("hvm")),
                    ("recommendations", Value::from("<restrictions/>")),
                    ("bios_strings", ops::vm::default_bios_strings()),
                    ("generation_id", Value::from("0:0")),
                    ("NVRAM", Value::map(variables.map(|variables| ("EFI-variables", variables.as_str())))),
                ],
            );
            ops::vm::add_metrics(t, &vm, self.clock.now());
            vm
        });
        if let Some(contents) = &described.vtpm {
            ops::vtpm::add(self, &vm, contents);
        }
        vm
    }
}
