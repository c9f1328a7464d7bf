//! Requests that start a job: back up, restore, export; what a restore would do, and what it made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{BackupOptions, BackupType, PoolDisk, PowerState, Problem, Transport};

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

/// Where a restored VM goes. A request that says both is refused: which VM is replaced never follows from a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placement {
    /// Beside whatever is there: a new VM with this name-label, a new uuid and new MACs. Nothing that stands is touched.
    Beside {
        /// name-label of the new VM; no VM of the pool may bear it.
        name: String,
    },
    /// Over the original: same name-label, uuid and MACs; the VM of that uuid, if there is one, is replaced once the
    /// restored one has arrived.
    Overwrite {
        /// Remove the disks of the original *before* the restore, where an SR has no room for both: uuid of the VM that
        /// loses them, which must be the original. If the restore fails then, the original is lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destroy_first: Option<String>,
    },
}

impl Placement {
    /// Over the original, which is removed only once the restored VM has arrived.
    #[must_use]
    pub fn overwrite() -> Self {
        Self::Overwrite { destroy_first: None }
    }
}

/// What becomes of a network card whose network the pool does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnmappedNetworks {
    /// The restore is refused, before a byte is sent.
    #[default]
    Refuse,
    /// The VM is restored without the card.
    LeaveOut,
}

/// Which SRs and networks of the pool a restored VM gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestorePlaces {
    /// name-label or uuid of the SR for all disks without one of their own; the pool's default SR if absent.
    #[serde(default)]
    pub sr: Option<String>,
    /// SRs of single disks: position (`0`, `1` …) to name-label or uuid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disk_srs: BTreeMap<String, String>,
    /// Networks: name-label or uuid at the time of the backup, or `device:N` for one card, to name-label or uuid on the
    /// pool. Those that are not named are found by uuid, then by name-label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, String>,
    /// What becomes of a card whose network is not found.
    #[serde(default)]
    pub unmapped_networks: UnmappedNetworks,
    /// Leave the memory of a point with memory where it is: the VM comes back switched off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_memory: bool,
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
    /// name-label or uuid of the SR for all disks without one of their own; the pool's default SR if absent.
    #[serde(default)]
    pub sr: Option<String>,
    /// SRs of single disks: position (`0`, `1` …) to name-label or uuid.
    #[serde(default)]
    pub disk_srs: BTreeMap<String, String>,
    /// Networks: name-label or uuid at the time of the backup, or `device:N` for one card, to name-label or uuid on the
    /// pool. Those that are not named are found by uuid, then by name-label.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
    /// What becomes of a card whose network is not found.
    #[serde(default)]
    pub unmapped_networks: UnmappedNetworks,
    /// Leave the memory of a point with memory where it is: the VM comes back switched off.
    #[serde(default)]
    pub without_memory: bool,
    /// Start the VM (a point with memory: resume it) and wait for its guest ("recover and online").
    #[serde(default)]
    pub start: bool,
    /// How data travels this time, if not as the client says.
    #[serde(default)]
    pub transport: Option<Transport>,
}

impl RestoreRequest {
    /// A restore of `point`, with everything else as usual.
    #[must_use]
    pub fn new(point: impl Into<String>, placement: Placement) -> Self {
        Self {
            point: point.into(),
            client: None,
            placement,
            sr: None,
            disk_srs: BTreeMap::new(),
            networks: BTreeMap::new(),
            unmapped_networks: UnmappedNetworks::default(),
            without_memory: false,
            start: false,
            transport: None,
        }
    }

    /// SRs and networks.
    #[must_use]
    pub fn places(&self) -> RestorePlaces {
        RestorePlaces {
            sr: self.sr.clone(),
            disk_srs: self.disk_srs.clone(),
            networks: self.networks.clone(),
            unmapped_networks: self.unmapped_networks,
            without_memory: self.without_memory,
        }
    }
}

/// What a restore would do, looked up on the pool without changing anything there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RestorePlan {
    /// Full id of the point.
    pub point: String,
    /// Name of the client that it would be restored to.
    pub client: String,
    /// name-label that the VM would bear.
    pub vm_name: String,
    /// uuid that it would bear; none for a new one.
    pub vm_uuid: Option<String>,
    /// Where it would go.
    pub placement: Placement,
    /// The VM that would be removed.
    pub replaced: Option<ReplacedVm>,
    /// Disks and where they would go.
    pub disks: Vec<PlannedDisk>,
    /// The SRs of these disks.
    pub srs: Vec<PlannedSr>,
    /// Network cards and where they would be plugged in.
    pub networks: Vec<PlannedNetwork>,
    /// Version of the product that wrote the point.
    pub point_version: String,
    /// Version of the product that the pool runs.
    pub pool_version: String,
    /// It would be started.
    pub start: bool,
    /// What the administrator should know.
    pub warnings: Vec<Problem>,
    /// Why it would be refused.
    pub refusals: Vec<Problem>,
    /// Nothing stands in its way, as far as can be known beforehand.
    pub ok: bool,
}

/// A VM that a restore over the original would remove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplacedVm {
    /// uuid.
    pub uuid: String,
    /// name-label today.
    pub name: String,
    /// Power state.
    pub power_state: PowerState,
    /// Its disks that would be removed.
    pub disks: Vec<PoolDisk>,
    /// Its disks that would stay, detached.
    pub kept_disks: Vec<PoolDisk>,
    /// They would be removed before the restore.
    pub destroyed_first: bool,
}

/// A disk of a planned restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedDisk {
    /// Position in the VM.
    pub position: String,
    /// name-label.
    pub name: String,
    /// Virtual size, bytes.
    pub size_bytes: u64,
    /// Bytes that are no holes.
    pub data_bytes: u64,
    /// uuid of the SR; none if none could be found.
    pub sr_uuid: Option<String>,
    /// Its name-label.
    pub sr: Option<String>,
}

/// An SR of a planned restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedSr {
    /// uuid.
    pub uuid: String,
    /// name-label.
    pub name: String,
    /// Free now, bytes; none when it does not say.
    pub free_bytes: Option<u64>,
    /// What the disks need there at least, bytes.
    pub needed_bytes: u64,
    /// What the removal of the original's disks beforehand frees there at most, bytes.
    pub freed_bytes: u64,
}

/// How the network of a card was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMatch {
    /// It was chosen.
    Choice,
    /// The pool has the very network.
    Uuid,
    /// The pool has one network of that name.
    Name,
    /// It was not found; the card is left out.
    LeftOut,
    /// It was not found; the restore is refused.
    Missing,
}

/// A network card of a planned restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedNetwork {
    /// Position of the card: `0`, `1` …
    pub device: String,
    /// name-label of its network at the time of the backup.
    pub from: String,
    /// uuid of that network.
    pub from_uuid: String,
    /// uuid of the network on the pool.
    pub to_uuid: Option<String>,
    /// Its name-label.
    pub to: Option<String>,
    /// How it was found.
    pub by: NetworkMatch,
    /// MAC that the card would bear; none for a new one.
    pub mac: Option<String>,
}

/// Form of an exported point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// The whole VM as an XVA file, as `xe vm-import` takes it.
    Xva,
    /// One disk, byte by byte.
    Raw,
    /// One disk as a dynamic VHD.
    Vhd,
    /// One disk as a qcow2 image.
    Qcow2,
    /// The pool's database, or the host's backup, as it came from the pool.
    File,
}

impl ExportFormat {
    /// Whether it is the form of one disk.
    #[must_use]
    pub fn is_of_a_disk(self) -> bool {
        match self {
            Self::Raw | Self::Vhd | Self::Qcow2 => true,
            Self::Xva | Self::File => false,
        }
    }
}

/// How the clusters of a qcow2 image are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportCompression {
    /// Small and fast; read by qemu since 5.1.
    Zstd,
    /// Read by all that reads qcow2.
    Zlib,
}

/// Export a point, or one disk of it, as a stream: the job's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// Id of the point, or a unique prefix.
    pub point: String,
    /// The form.
    pub format: ExportFormat,
    /// Position of the disk; needed for, and only for, the forms of one disk.
    #[serde(default)]
    pub disk: Option<String>,
    /// Compress a qcow2 image. The disk is read twice for that: the length of the image is known before it is sent.
    #[serde(default)]
    pub compression: Option<ExportCompression>,
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
