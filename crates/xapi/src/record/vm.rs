//! VMs.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{enumeration, record};
use crate::refs::{HostRef, SrRef, VbdRef, VdiRef, VifRef, VmGuestMetricsRef, VmMetricsRef, VmRef, VtpmRef};

enumeration! {
    /// Power state of a VM.
    PowerState {
        /// Off.
        Halted = "Halted",
        /// In memory, not scheduled.
        Paused = "Paused",
        /// On.
        Running = "Running",
        /// Memory is on disk.
        Suspended = "Suspended",
    }
}

impl Default for PowerState {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

record! {
    /// A VM, a snapshot, a template or a control domain.
    Vm, VmRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Name; not unique.
        name_label: String = "name_label",
        /// Description.
        name_description: String = "name_description",
        /// Power state.
        power_state: PowerState = "power_state",
        /// Template, or snapshot.
        is_a_template: bool = "is_a_template",
        /// One of those that came with the product (7.2 and later; see [`Vm::is_default`]).
        is_default_template: bool = "is_default_template",
        /// Snapshot.
        is_a_snapshot: bool = "is_a_snapshot",
        /// dom0, or a driver domain.
        is_control_domain: bool = "is_control_domain",
        /// Whose snapshot it is.
        snapshot_of: VmRef = "snapshot_of",
        /// Its snapshots.
        snapshots: Vec<VmRef> = "snapshots",
        /// When it was made, by the pool's clock.
        snapshot_time: Timestamp = "snapshot_time",
        /// The snapshot that it grew from.
        parent: VmRef = "parent",
        /// How it was made.
        snapshot_info: BTreeMap<String, String> = "snapshot_info",
        /// Disk places.
        vbds: Vec<VbdRef> = "VBDs",
        /// Network cards.
        vifs: Vec<VifRef> = "VIFs",
        /// Virtual TPMs.
        vtpms: Vec<VtpmRef> = "VTPMs",
        /// Where it runs.
        resident_on: HostRef = "resident_on",
        /// Where it likes to run.
        affinity: HostRef = "affinity",
        /// Memory image of a suspended one.
        suspend_vdi: VdiRef = "suspend_VDI",
        /// Where that goes.
        suspend_sr: SrRef = "suspend_SR",
        /// Most memory, bytes.
        memory_static_max: i64 = "memory_static_max",
        /// Most processors.
        vcpus_max: i64 = "VCPUs_max",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
        /// What its guest finds in xenstore, and what it has put there.
        xenstore_data: BTreeMap<String, String> = "xenstore_data",
        /// Platform flags.
        platform: BTreeMap<String, String> = "platform",
        /// How a HVM guest boots; empty with PV.
        hvm_boot_policy: String = "HVM_boot_policy",
        /// Order and firmware.
        hvm_boot_params: BTreeMap<String, String> = "HVM_boot_params",
        /// `hvm`, `pv` …
        domain_type: String = "domain_type",
        /// Tags.
        tags: Vec<String> = "tags",
        /// Priority under high availability.
        ha_restart_priority: String = "ha_restart_priority",
        /// Operations that an administrator has blocked, and why.
        blocked_operations: BTreeMap<String, String> = "blocked_operations",
        /// What may be done now: advice, no promise.
        allowed_operations: Vec<String> = "allowed_operations",
        /// What is being done: task to operation.
        current_operations: BTreeMap<String, String> = "current_operations",
        /// What the hypervisor says.
        metrics: VmMetricsRef = "metrics",
        /// What the guest's tools say.
        guest_metrics: VmGuestMetricsRef = "guest_metrics",
        /// How often it was restored.
        version: i64 = "version",
    }
}

impl Vm {
    /// A template that came with the product: never backed up, never removed.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_a_template
            && (self.is_default_template
                || self.other_config.get("default_template").is_some_and(|value| value == "true"))
    }

    /// What an administrator means by a VM: also a template of his own, but no snapshot, no control domain, and no template
    /// that came with the product.
    #[must_use]
    pub fn is_backup_source(&self) -> bool {
        !self.is_a_snapshot && !self.is_control_domain && !self.is_default()
    }
}

record! {
    /// What the hypervisor says of a VM.
    VmMetrics, VmMetricsRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Memory in use, bytes.
        memory_actual: i64 = "memory_actual",
        /// When it was started.
        start_time: Timestamp = "start_time",
    }
}

record! {
    /// What the tools in a guest say.
    VmGuestMetrics, VmGuestMetricsRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Operating system.
        os_version: BTreeMap<String, String> = "os_version",
        /// Version of the tools; empty without.
        pv_drivers_version: BTreeMap<String, String> = "PV_drivers_version",
        /// Tools were seen.
        pv_drivers_detected: bool = "PV_drivers_detected",
        /// Addresses: `0/ip`, `0/ipv4/0`, `0/ipv6/0` …
        networks: BTreeMap<String, String> = "networks",
        /// Features and more.
        other: BTreeMap<String, String> = "other",
        /// Someone in the guest is talking.
        live: bool = "live",
        /// When it last did.
        last_updated: Timestamp = "last_updated",
    }
}

impl VmGuestMetrics {
    /// The guest's addresses, each once, in the order of its network cards, IPv4 first, link-local ones left out.
    #[must_use]
    pub fn addresses(&self) -> Vec<std::net::IpAddr> {
        let mut found: Vec<(u32, bool, std::net::IpAddr)> = Vec::new();
        for (key, text) in &self.networks {
            let Ok(address) = text.trim().parse::<std::net::IpAddr>() else { continue };
            let local = match address {
                std::net::IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback() || v4.is_unspecified(),
                std::net::IpAddr::V6(v6) => {
                    (v6.segments()[0] & 0xffc0) == 0xfe80 || v6.is_loopback() || v6.is_unspecified()
                }
            };
            let card = key.split('/').next().and_then(|card| card.parse().ok()).unwrap_or(u32::MAX);
            if !local && !found.iter().any(|(_, _, known)| *known == address) {
                found.push((card, address.is_ipv6(), address));
            }
        }
        found.sort();
        found.into_iter().map(|(_, _, address)| address).collect()
    }
}

record! {
    /// A virtual TPM.
    Vtpm, VtpmRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Whose it is.
        vm: VmRef = "VM",
    }
}
