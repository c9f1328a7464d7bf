//! Clients (pools that are backed up) and what is found on them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ClientId, Secret};

/// How bulk data (exports, imports) travels between pool and mover. API calls use it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In the clear: only for a management network that the administrator trusts.
    Http,
    /// TLS, with the certificate pinned at first contact.
    #[default]
    Https,
}

/// A XenServer / XCP-ng pool, reached through its master. Its password is never shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// Our id of it.
    pub id: ClientId,
    /// The administrator's name for it; unique.
    pub name: String,
    /// `host` or `host:port` of the pool master.
    pub address: String,
    /// User name on the pool.
    pub user: String,
    /// How data travels.
    pub transport: Transport,
    /// SHA-256 of the master's certificate (lower-case hex), pinned at first contact; none with `http`.
    pub certificate_sha256: Option<String>,
    /// What the pool said of itself when it was added or last checked.
    pub pool: Option<PoolSummary>,
    /// The mover that does its jobs; without one, whichever is free.
    #[serde(default)]
    pub mover: Option<String>,
    /// How many jobs may work on it at once.
    #[serde(default)]
    pub limits: ClientLimits,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// How many jobs may work on a pool at once. What is absent is as the server is set: three a pool, and no limit for a
/// host or an SR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientLimits {
    /// On the whole pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// With VMs of one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_per_host: Option<u32>,
    /// With disks on one SR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_per_sr: Option<u32>,
}

/// What the administrator says to add a client.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// The administrator's name for it.
    pub name: String,
    /// `host` or `host:port` of the pool master; the port defaults to the transport's (80 or 443).
    pub address: String,
    /// User name on the pool; `root`, or one with the role `pool-admin`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How data travels; https unless said otherwise.
    #[serde(default)]
    pub transport: Transport,
    /// The certificate to expect, as SHA-256 in hex with or without colons; without it the first one seen is pinned.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// The mover that does its jobs; without one, whichever is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover: Option<String>,
}

/// What a pool says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Certificate that the master showed: SHA-256, lower-case hex. None over http.
    pub certificate_sha256: Option<String>,
    /// Management addresses of all hosts, as XAPI knows them. No mover may have one of these.
    #[serde(default)]
    pub host_addresses: Vec<String>,
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
    /// Guest tools: seen running in the guest.
    pub tools: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its disks, by position.
    pub disks: Vec<PoolDisk>,
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
