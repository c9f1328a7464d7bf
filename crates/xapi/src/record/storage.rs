//! Storage.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{enumeration, record};
use crate::refs::{HostRef, PbdRef, SrRef, VbdRef, VdiRef, VmRef};

record! {
    /// A disk.
    Vdi, VdiRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Name; not unique.
        name_label: String = "name_label",
        /// Description.
        name_description: String = "name_description",
        /// Where it lies.
        sr: SrRef = "SR",
        /// Its places in VMs.
        vbds: Vec<VbdRef> = "VBDs",
        /// Size as a guest sees it, bytes.
        virtual_size: i64 = "virtual_size",
        /// What it takes in the SR, bytes.
        physical_utilisation: i64 = "physical_utilisation",
        /// `user`, `system`, `suspend`, `cbt_metadata` …
        kind: String = "type",
        /// Several VMs may use it at once.
        sharable: bool = "sharable",
        /// Not to be written to.
        read_only: bool = "read_only",
        /// Key within the SR.
        location: String = "location",
        /// False: a hidden node of a chain, not to be touched.
        managed: bool = "managed",
        /// The SR has lost it.
        missing: bool = "missing",
        /// Snapshot.
        is_a_snapshot: bool = "is_a_snapshot",
        /// Whose.
        snapshot_of: VdiRef = "snapshot_of",
        /// Its snapshots.
        snapshots: Vec<VdiRef> = "snapshots",
        /// When.
        snapshot_time: Timestamp = "snapshot_time",
        /// Changed blocks are tracked.
        cbt_enabled: bool = "cbt_enabled",
        /// `persist` or `reset`.
        on_boot: String = "on_boot",
        /// The driver's keys.
        sm_config: BTreeMap<String, String> = "sm_config",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
        /// Tags.
        tags: Vec<String> = "tags",
        /// What is being done: task to operation.
        current_operations: BTreeMap<String, String> = "current_operations",
    }
}

impl Vdi {
    /// Virtual size; a negative one, which no SR says, counts as 0.
    #[must_use]
    pub fn virtual_bytes(&self) -> u64 {
        u64::try_from(self.virtual_size).unwrap_or(0)
    }
}

enumeration! {
    /// What stands in a disk place.
    VbdType {
        /// Disk.
        Disk = "Disk",
        /// CD, with an ISO or empty.
        Cd = "CD",
        /// Floppy.
        Floppy = "Floppy",
    }
}

impl Default for VbdType {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

record! {
    /// A disk's place in a VM.
    Vbd, VbdRef {
        /// What lasts.
        uuid: String = "uuid",
        /// The VM.
        vm: VmRef = "VM",
        /// The disk; null when empty.
        vdi: VdiRef = "VDI",
        /// What stands in it.
        kind: VbdType = "type",
        /// `RO` or `RW`.
        mode: String = "mode",
        /// Position: `0`, `1` …
        userdevice: String = "userdevice",
        /// Name in the guest, such as `xvda`; empty while detached.
        device: String = "device",
        /// The guest boots from it.
        bootable: bool = "bootable",
        /// Nothing stands in it.
        empty: bool = "empty",
        /// Attached now.
        currently_attached: bool = "currently_attached",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
    }
}

record! {
    /// A storage repository.
    Sr, SrRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Name; not unique.
        name_label: String = "name_label",
        /// Description.
        name_description: String = "name_description",
        /// `ext`, `nfs`, `lvm`, `iso` …
        kind: String = "type",
        /// `user`, `iso` …
        content_type: String = "content_type",
        /// All hosts see it.
        shared: bool = "shared",
        /// Size, bytes; as of the last scan, not above 0 when unknown.
        physical_size: i64 = "physical_size",
        /// In use, bytes; as of the last scan.
        physical_utilisation: i64 = "physical_utilisation",
        /// Sum of the virtual sizes, bytes.
        virtual_allocation: i64 = "virtual_allocation",
        /// Holds the guest tools.
        is_tools_sr: bool = "is_tools_sr",
        /// Its disks.
        vdis: Vec<VdiRef> = "VDIs",
        /// The hosts' ways to it.
        pbds: Vec<PbdRef> = "PBDs",
        /// The driver's keys.
        sm_config: BTreeMap<String, String> = "sm_config",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
        /// What may be done now: advice, no promise.
        allowed_operations: Vec<String> = "allowed_operations",
    }
}

impl Sr {
    /// Free space as of the last scan, bytes; none when the SR does not say its size.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        if self.physical_size <= 0 {
            return None;
        }
        Some(u64::try_from(self.physical_size.saturating_sub(self.physical_utilisation.max(0))).unwrap_or(0))
    }

    /// It can hold disks of VMs: no ISOs, no tools, no physical devices.
    #[must_use]
    pub fn holds_disks(&self) -> bool {
        !self.is_tools_sr && self.content_type != "iso" && !matches!(self.kind.as_str(), "iso" | "udev")
    }
}

record! {
    /// A host's way to an SR.
    Pbd, PbdRef {
        /// What lasts.
        uuid: String = "uuid",
        /// The host.
        host: HostRef = "host",
        /// The SR.
        sr: SrRef = "SR",
        /// The host sees it now.
        currently_attached: bool = "currently_attached",
    }
}
