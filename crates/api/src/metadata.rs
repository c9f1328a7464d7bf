//! A pool's own database: backing it up, and putting it back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Transport;

/// Back up a pool's database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetaDataBackupRequest {
    /// Name or id of the client.
    pub client: String,
    /// Name or id of the datastore.
    pub datastore: String,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
}

/// Put a pool's database back, or see whether that would be possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetaDataRestoreRequest {
    /// Id of the point, or a unique prefix.
    pub point: String,
    /// Name or id of the client to restore to; the one that it was read from if absent.
    #[serde(default)]
    pub client: Option<String>,
    /// The client's name once more: the database is replaced. Without it the pool only says whether it would take it.
    #[serde(default)]
    pub replace_database_of: Option<String>,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
}

/// What came of putting a pool's database back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetaDataRestored {
    /// The pool only looked at the database, and would take it.
    pub dry_run: bool,
    /// Name of the pool's master, which restarts.
    pub master: String,
    /// What the administrator does next, a line each.
    pub steps: Vec<String>,
}

/// What a pool's database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DatabaseSummary {
    /// Version of the database's schema, such as `5.787`. It is restored only to a pool of the same.
    pub schema: String,
    /// name-label of the master.
    pub master: String,
    /// The master's product and version, such as `XCP-ng 8.3.0`.
    pub product: String,
    /// name-labels of the hosts.
    pub hosts: Vec<String>,
    /// name-labels of the storage repositories.
    pub srs: Vec<String>,
    /// name-labels of the networks.
    pub networks: Vec<String>,
    /// name-labels of the VMs, without templates, snapshots and control domains.
    pub vms: Vec<String>,
    /// How many of them were left out because there are too many to list.
    pub unlisted: u64,
    /// How many tables and rows it has.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
}
