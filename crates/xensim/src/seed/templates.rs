//! The templates that come with the product.

use crate::{
    config::Config,
    model::{Class, Ref, Tables, Value},
    ops,
};

/// Name, firmware, memory in MiB, size of the first disk in GiB (0: none).
const DEFAULTS: &[(&str, &str, i64, i64)] = &[
    ("Other install media", "bios", 256, 0),
    ("Debian Bookworm 12", "bios", 1024, 10),
    ("Rocky Linux 9", "bios", 2048, 15),
    ("Ubuntu Jammy Jellyfish 22.04", "bios", 1024, 10),
    ("Windows Server 2022 (64-bit)", "uefi", 2048, 60),
];

pub(super) fn create(t: &mut Tables, config: &Config) {
    let default_sr = config.srs.iter().find(|sr| sr.default).map(|sr| sr.name.clone()).unwrap_or_default();
    for (name, firmware, memory_mib, disk_gib) in DEFAULTS {
        let template = template(t, name, firmware, *memory_mib, *disk_gib, &default_sr);
        ops::refresh_vm(t, &template);
    }
}

fn template(t: &mut Tables, name: &str, firmware: &str, memory_mib: i64, disk_gib: i64, sr: &str) -> Ref {
    let memory = Value::Int(memory_mib << 20);
    let mut other_config = vec![
        ("default_template".to_owned(), "true".to_owned()),
        ("mac_seed".to_owned(), uuid::Uuid::new_v4().to_string()),
        ("linux_template".to_owned(), (!name.starts_with("Windows")).to_string()),
    ];
    if disk_gib > 0 {
        // What an installer would provision; VM.provision reads it.
        let size = disk_gib << 30;
        let disks = format!(
            "<provision><disk device=\"0\" size=\"{size}\" sr=\"{}\" bootable=\"true\" type=\"system\"/></provision>",
            if sr.is_empty() { "" } else { "default" }
        );
        other_config.push(("disks".to_owned(), disks));
    }
    t.create(
        Class::Vm,
        [
            ("name_label", Value::from(name)),
            ("name_description", Value::from("Template of the simulator")),
            ("is_a_template", Value::Bool(true)),
            ("is_default_template", Value::Bool(true)),
            ("power_state", Value::from("Halted")),
            ("memory_static_max", memory.clone()),
            ("memory_dynamic_max", memory.clone()),
            ("memory_dynamic_min", memory.clone()),
            ("memory_static_min", memory),
            ("VCPUs_max", Value::Int(1)),
            ("VCPUs_at_startup", Value::Int(1)),
            ("actions_after_shutdown", Value::from("destroy")),
            ("actions_after_reboot", Value::from("restart")),
            ("actions_after_crash", Value::from("restart")),
            ("HVM_boot_policy", Value::from("BIOS order")),
            ("HVM_boot_params", Value::map([("order", "cdn"), ("firmware", firmware)])),
            ("platform", ops::default_platform(firmware == "uefi")),
            ("other_config", Value::map(other_config)),
            ("domid", Value::Int(-1)),
            ("domain_type", Value::from("hvm")),
            ("recommendations", Value::from("<restrictions/>")),
        ],
    )
}
