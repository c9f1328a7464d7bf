//! The pool and its hosts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::record;
use crate::refs::{CertificateRef, HostMetricsRef, HostRef, PbdRef, PoolRef, SrRef, VmRef};

record! {
    /// The pool; there is exactly one.
    Pool, PoolRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Name; often empty.
        name_label: String = "name_label",
        /// Description.
        name_description: String = "name_description",
        /// The host that answers calls.
        master: HostRef = "master",
        /// Where new disks go; may be null or dangle.
        default_sr: SrRef = "default_SR",
        /// Where memory images go.
        suspend_image_sr: SrRef = "suspend_image_SR",
        /// High availability is on.
        ha_enabled: bool = "ha_enabled",
        /// What the licence leaves out.
        restrictions: BTreeMap<String, String> = "restrictions",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
    }
}

record! {
    /// A host.
    Host, HostRef {
        /// What lasts.
        uuid: String = "uuid",
        /// Name.
        name_label: String = "name_label",
        /// Its own name.
        hostname: String = "hostname",
        /// Management address.
        address: String = "address",
        /// It takes VMs.
        enabled: bool = "enabled",
        /// What it measures.
        metrics: HostMetricsRef = "metrics",
        /// Versions.
        software_version: BTreeMap<String, String> = "software_version",
        /// Version of the API.
        api_version_major: i64 = "API_version_major",
        /// Version of the API.
        api_version_minor: i64 = "API_version_minor",
        /// Edition of the licence.
        edition: String = "edition",
        /// What the licence says of itself: `expiry`, `sku_type` …
        license_params: BTreeMap<String, String> = "license_params",
        /// Versions of the virtual hardware that it offers.
        virtual_hardware_platform_versions: Vec<i64> = "virtual_hardware_platform_versions",
        /// dom0.
        control_domain: VmRef = "control_domain",
        /// Where memory images of its VMs go, unless VM or pool say otherwise.
        suspend_image_sr: SrRef = "suspend_image_sr",
        /// VMs on it.
        resident_vms: Vec<VmRef> = "resident_VMs",
        /// Its ways to SRs.
        pbds: Vec<PbdRef> = "PBDs",
        /// Its certificates.
        certificates: Vec<CertificateRef> = "certificates",
        /// Port 80 is shut.
        https_only: bool = "https_only",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
    }
}

impl Host {
    /// Product and version for people, such as `XCP-ng 8.3.0`.
    #[must_use]
    pub fn product(&self) -> String {
        let of = |key: &str| self.software_version.get(key).map_or("", String::as_str);
        let brand = match of("product_brand") {
            "" => "XenServer",
            brand => brand,
        };
        let version = match of("product_version_text") {
            "" => of("product_version"),
            version => version,
        };
        format!("{brand} {version}").trim_end().to_owned()
    }
}

record! {
    /// What a host measures.
    HostMetrics, HostMetricsRef {
        /// What lasts.
        uuid: String = "uuid",
        /// The master hears from it.
        live: bool = "live",
        /// Memory, bytes.
        memory_total: i64 = "memory_total",
        /// When it was last heard.
        last_updated: Timestamp = "last_updated",
    }
}

record! {
    /// A certificate that the pool knows.
    Certificate, CertificateRef {
        /// What lasts.
        uuid: String = "uuid",
        /// `ca`, `host`, `host_internal`, `pinned`.
        kind: String = "type",
        /// Whose it is; null with `ca`.
        host: HostRef = "host",
        /// SHA-256, upper-case pairs with colons.
        fingerprint_sha256: String = "fingerprint_sha256",
        /// The same, before `fingerprint_sha256` came.
        fingerprint: String = "fingerprint",
        /// End of its life.
        not_after: Timestamp = "not_after",
    }
}
