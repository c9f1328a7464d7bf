//! Requests that start a job: back up, restore, export; and what a restore made.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{BackupOptions, BackupType, PowerState, Transport};

/// Back up one VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// Name or id of the client.
    pub client: String,
    /// name-label or uuid of the VM.
    pub vm: String,
    /// Name or id of the datastore.
    pub datastore: String,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// How it is read.
    #[serde(default)]
    pub backup_type: BackupType,
    /// The rest of how.
    #[serde(default)]
    pub options: BackupOptions,
}

/// Where a restored VM goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Placement {
    /// Beside whatever is there: a new VM with this name-label, a new uuid and new MACs.
    Beside {
        /// name-label of the new VM.
        name: String,
    },
    /// Over the original: same name-label, uuid and MACs; the VM of that uuid, if there is one, is replaced.
    Overwrite,
}

/// Restore a VM from a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// Id of the point, or a unique prefix.
    pub point: String,
    /// Name or id of the client to restore to; the one that it was read from if absent.
    #[serde(default)]
    pub client: Option<String>,
    /// Where the VM goes.
    pub placement: Placement,
    /// name-label or uuid of the SR for all disks; the pool's default SR if absent.
    #[serde(default)]
    pub sr: Option<String>,
    /// Start the VM and wait for its guest ("recover and online").
    #[serde(default)]
    pub start: bool,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
}

/// Form of an exported point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// The whole VM as an XVA file, as `xe vm-import` takes it.
    Xva,
    /// One disk, byte by byte.
    Raw,
    /// The pool's database, or the host's backup, as it came from the pool.
    File,
}

/// Export a point, or one disk of it, as a stream: the job's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// Id of the point, or a unique prefix.
    pub point: String,
    /// The form.
    pub format: ExportFormat,
    /// Position of the disk; needed for, and only for, `raw`.
    #[serde(default)]
    pub disk: Option<String>,
}

/// The VM that a restore made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RestoredVm {
    /// Its uuid.
    pub uuid: String,
    /// Its name-label.
    pub name: String,
    /// Its power state at the end of the job.
    pub power_state: PowerState,
    /// Addresses that its guest reported, when it was started.
    pub addresses: Vec<String>,
}
