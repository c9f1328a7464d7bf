//! Restore points.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{BackupType, ClientId, Consistency, DatabaseSummary, DatastoreId, HostSummary, JobId, PointDamage};

/// What a restore point holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PointKind {
    /// A VM with its disks.
    Vm,
    /// A pool's own database: its configuration, without any disk.
    MetaData,
    /// The root file system of a host's control domain.
    Host,
}

/// What a point of a pool's data or of a host holds, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PointSummary {
    /// Of a pool's database.
    MetaData(DatabaseSummary),
    /// Of a host.
    Host(HostSummary),
}

/// One finished backup, complete in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// Id of the restic snapshot: 64 hex digits. A unique prefix is enough wherever a point is named.
    pub id: String,
    /// The datastore that holds it.
    pub datastore: DatastoreId,
    /// The client that it was read from.
    pub client: ClientId,
    /// The client's name at that time.
    pub client_name: String,
    /// The job that wrote it.
    pub job: JobId,
    /// What it holds.
    pub kind: PointKind,
    /// uuid of the VM (not of the snapshot that was read), of the pool or of the host.
    pub source_uuid: String,
    /// name-label of the VM, the pool or the host at that time.
    pub source_name: String,
    /// When it was: the time of a VM's snapshot, or the moment when reading began, by the pool's clock.
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: Timestamp,
    /// Sum of the disks' virtual sizes, or length of the stream; bytes.
    pub size_bytes: u64,
    /// Bytes of chunks that no earlier point had, before compression.
    pub new_bytes: u64,
    /// Bytes that the backup added to the datastore.
    pub stored_bytes: u64,
    /// The disks, by position.
    pub disks: Vec<PointDisk>,
    /// Set when it must not be removed.
    #[serde(default)]
    pub protection: Option<PointProtection>,
    /// Damage that a verification found in it.
    #[serde(default)]
    pub damage: Option<PointDamage>,
    /// What it holds, where it is no VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<PointSummary>,
    /// How a VM was to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<BackupType>,
    /// In which state a VM's disks were frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<PointConsistency>,
    /// Disks of the VM that are not in the point, by position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutDisk>,
}

/// What was asked of the state of the disks, and what was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointConsistency {
    /// What the task asked for.
    pub asked: Consistency,
    /// What the pool and the guest could: `crash`, `quiesced`, `memory` or `offline`.
    pub reached: Consistency,
    /// Who had the guest write out what it held, where it was quiesced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<QuiescedBy>,
    /// Size of the memory image that is in the point, bytes; none where it holds no memory. It is none of the VM's disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl PointConsistency {
    /// What was reached, with nothing to add to it.
    #[must_use]
    pub fn new(asked: Consistency, reached: Consistency) -> Self {
        Self { asked, reached, by: None, memory_bytes: None }
    }
}

/// Who had a guest write out what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuiescedBy {
    /// The pool, with a quiesced snapshot (VSS).
    Pool,
    /// A hook in the guest.
    Guest,
}

/// A disk of the VM that is not in the point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOutDisk {
    /// `userdevice` of its VBD.
    pub position: String,
    /// name-label of the VDI.
    pub name: String,
    /// uuid of the VDI.
    pub vdi_uuid: String,
    /// Virtual size, bytes.
    pub size_bytes: u64,
    /// Which rule left it out, such as `[NOBAK]` or `sr:scratch`.
    pub reason: String,
}

/// Why a point must not be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointProtection {
    /// Why.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A disk in a restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointDisk {
    /// `userdevice` of the VBD it came from.
    pub position: String,
    /// name-label of the VDI.
    pub name: String,
    /// uuid of the original VDI.
    pub vdi_uuid: String,
    /// Virtual size, bytes.
    pub size_bytes: u64,
    /// The VDI's id in `ova.xml`, such as `Ref:7`.
    pub ova_id: String,
    /// Whether the guest boots from it.
    pub bootable: bool,
}

/// Which points to list; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PointFilter {
    /// Name or id of a client.
    pub client: Option<String>,
    /// Name-label or uuid of a VM, a pool or a host.
    pub vm: Option<String>,
    /// Name or id of a datastore.
    pub datastore: Option<String>,
}
