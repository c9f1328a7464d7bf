//! The control domains of hosts: backing them up, and putting them back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Transport;

/// Back up the control domain of a host, or of every host of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostBackupRequest {
    /// Name or id of the client.
    pub client: String,
    /// name-label or uuid of the host; every host if absent.
    #[serde(default)]
    pub host: Option<String>,
    /// Name or id of the datastore.
    pub datastore: String,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
}

/// Put a host's backup on the host's backup partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRestoreRequest {
    /// Id of the point, or a unique prefix.
    pub point: String,
    /// Name or id of the client whose host it is; the one that it was read from if absent.
    #[serde(default)]
    pub client: Option<String>,
    /// name-label or uuid of the host.
    pub host: String,
    /// Also if product or version of the host differ from those in the backup.
    #[serde(default)]
    pub force: bool,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
}

/// What came of putting a host's backup back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostRestored {
    /// uuid of the host.
    pub uuid: String,
    /// Its name-label.
    pub name: String,
    /// What the administrator does next at the host's console, a line each.
    pub steps: Vec<String>,
}

/// What a host's backup holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct HostSummary {
    /// Product, such as `XCP-ng`.
    pub product: String,
    /// Version of the product, such as `8.3.0`.
    pub version: String,
    /// Build number.
    pub build: String,
    /// Regular files in it.
    pub files: u64,
    /// Bytes of these files, holes counted.
    pub content_bytes: u64,
    /// Path of the pool's database in it.
    pub pool_database: Option<String>,
}
