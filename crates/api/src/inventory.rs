//! What is found on a pool: hosts, SRs, networks, VMs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a pool says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolSummary {
    /// uuid of the pool.
    pub uuid: String,
    /// Name of the pool; often empty, then the master's name.
    pub name: String,
    /// Name of the master.
    pub master: String,
    /// Product and version, such as `XCP-ng 8.3.0`.
    pub product: String,
    /// Number of hosts.
    pub hosts: u32,
    /// Certificate that the host at the client's address showed: SHA-256, lower-case hex. None over http.
    pub certificate_sha256: Option<String>,
    /// The hosts: the master first, then by name. Their addresses are tried when the client's own does not answer.
    #[serde(default)]
    pub members: Vec<PoolHost>,
    /// The network that data really travel over; none when it could not be told.
    #[serde(default)]
    pub transfer: Option<TransferNetwork>,
}

impl PoolSummary {
    /// All addresses of the pool's hosts: of their interfaces, and the ones that they name as their own.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().flat_map(|host| {
            std::iter::once(host.address.as_str()).chain(host.interfaces.iter().map(|card| card.address.as_str()))
        })
    }
}

/// A host of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolHost {
    /// XAPI's uuid.
    pub uuid: String,
    /// name-label.
    pub name: String,
    /// Address of its management interface, as the pool names it.
    pub address: String,
    /// It is the master.
    pub master: bool,
    /// It takes VMs.
    pub enabled: bool,
    /// The master hears from it.
    pub live: bool,
    /// Product and version.
    pub product: String,
    /// Its interfaces that have an address.
    pub interfaces: Vec<PoolInterface>,
    /// Its certificate, as the pool knows it: SHA-256, lower-case hex.
    pub certificate_sha256: Option<String>,
    /// Until when that is valid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub certificate_expires: Option<Timestamp>,
}

/// A network interface (PIF) of a host, with an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolInterface {
    /// Its name on the host: `eth0`.
    pub device: String,
    /// name-label of its network.
    pub network: String,
    /// Its address.
    pub address: String,
    /// The host is managed through it.
    pub management: bool,
}

/// Which network carries the data between mover and pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransferNetwork {
    /// The mover's own address on that way.
    pub mover_address: String,
    /// The host's address that was connected to.
    pub host_address: String,
    /// name-label of the host.
    pub host: String,
    /// Its interface; empty if the pool names none with that address (a translated address, or a name's other address).
    pub device: String,
    /// name-label of the network.
    pub network: String,
    /// It is the management network.
    pub management: bool,
}

/// Power state of a VM, XAPI's `vm_power_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PowerState {
    /// Off.
    Halted,
    /// In memory, not scheduled.
    Paused,
    /// On.
    Running,
    /// Memory is on disk.
    Suspended,
}

impl std::fmt::Display for PowerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Halted => "halted",
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Suspended => "suspended",
        })
    }
}

/// Text that is no [`PowerState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no power state: running, halted, paused or suspended is meant")]
pub struct NotAPowerState(String);

impl std::str::FromStr for PowerState {
    type Err = NotAPowerState;

    fn from_str(text: &str) -> Result<Self, NotAPowerState> {
        match text.trim().to_ascii_lowercase().as_str() {
            "halted" => Ok(Self::Halted),
            "paused" => Ok(Self::Paused),
            "running" => Ok(Self::Running),
            "suspended" => Ok(Self::Suspended),
            _ => Err(NotAPowerState(text.chars().filter(|c| !c.is_control()).take(40).collect())),
        }
    }
}

/// A VM as found on a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolVm {
    /// XAPI's uuid.
    pub uuid: String,
    /// name-label; not unique on a pool.
    pub name: String,
    /// Power state.
    pub power_state: PowerState,
    /// name-label of the host that it runs on.
    #[serde(default)]
    pub host: Option<String>,
    /// Guest tools: seen running in the guest.
    pub tools: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its disks, by position.
    pub disks: Vec<PoolDisk>,
}

impl PoolVm {
    /// Sum of its disks' virtual sizes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.disks.iter().fold(0, |sum, disk| sum.saturating_add(disk.size_bytes))
    }
}

/// A disk (VDI) of a VM as found on a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolDisk {
    /// `userdevice` of the VBD: `0`, `1` …
    pub position: String,
    /// uuid of the VDI.
    pub vdi_uuid: String,
    /// name-label of the VDI.
    pub name: String,
    /// Virtual size in bytes.
    pub size_bytes: u64,
    /// name-label of its SR.
    pub sr: String,
}

/// An SR that can hold disks of VMs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolSr {
    /// XAPI's uuid.
    pub uuid: String,
    /// name-label; not unique.
    pub name: String,
    /// `ext`, `nfs`, `lvm` …
    pub kind: String,
    /// All hosts see it.
    pub shared: bool,
    /// It is the pool's default.
    pub default: bool,
    /// At least one host sees it now.
    pub attached: bool,
    /// Size in bytes; none when it does not say.
    pub size_bytes: Option<u64>,
    /// Free space in bytes, as of its last scan; none when it does not say.
    pub free_bytes: Option<u64>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolNetwork {
    /// XAPI's uuid.
    pub uuid: String,
    /// name-label; not unique.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// What it is meant for: `nbd`, `insecure_nbd`.
    pub purpose: Vec<String>,
    /// The hosts are managed through it.
    pub management: bool,
}

/// All that is on a pool, as far as backup and restore care.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolInventory {
    /// The pool and its hosts.
    pub pool: PoolSummary,
    /// SRs for disks, by name.
    pub srs: Vec<PoolSr>,
    /// Networks, by name.
    pub networks: Vec<PoolNetwork>,
    /// VMs, by name; no templates, snapshots or control domains.
    pub vms: Vec<PoolVm>,
}
