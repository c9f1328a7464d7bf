//! `point.json`: what a restore point is, how it was read, and what the pool said of the VM at that time.
//!
//! It is enough to rebuild the catalogue. Old ones must stay readable: fields are only ever added, with a default.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xenkeep_api::{
    BackupType, ClientId, Consistency, DatastoreId, JobId, LeftOutDisk, Point, PointConsistency, PointDisk, PointKind,
    PointSummary, QuiescedBy,
};

/// Name of the file in the point.
pub(crate) const POINT_FILE: &str = "point.json";
/// Name of XAPI's description in the point.
pub(crate) const OVA_FILE: &str = "ova.xml";
/// Name of a pool's database in the point.
pub(crate) const DATABASE_FILE: &str = "pool-database.xml";
/// Name of a host's backup in the point.
pub(crate) const HOST_FILE: &str = "host-backup.xbk";
/// Where the image of a VM's memory stands among its disks.
pub(crate) const MEMORY: &str = "memory";
/// The version that is written here.
pub(crate) const FORMAT: u32 = 1;

/// What `point.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PointFile {
    /// Version of this file.
    pub(crate) format: u32,
    /// Who wrote it.
    pub(crate) written_by: String,
    /// What the point holds.
    pub(crate) kind: PointKind,
    /// The job that wrote it.
    pub(crate) job: JobId,
    /// The client, as it was known then.
    pub(crate) client: Named<ClientId>,
    /// The pool.
    pub(crate) pool: PoolFile,
    /// The VM (not the snapshot that was read), where the point holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vm: Option<Named<String>>,
    /// The pool or the host, where the point holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Named<String>>,
    /// When its disks were frozen, or reading began, by the pool's clock.
    pub(crate) taken_at: Timestamp,
    /// In which state the disks are: `crash`, `quiesced`, `memory`, `offline`.
    pub(crate) consistency: String,
    /// Who quiesced the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quiesced_by: Option<QuiescedBy>,
    /// In which state they were to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) consistency_asked: Option<Consistency>,
    /// How the VM was to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backup_type: Option<BackupType>,
    /// Disks of the VM that are not in the point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<LeftOutDisk>,
    /// `xva`, or `http` where the point is one stream as it came.
    pub(crate) transport: String,
    /// Sum of the disks' virtual sizes, or length of the stream.
    pub(crate) size_bytes: u64,
    /// What came over the wire.
    pub(crate) moved_bytes: u64,
    /// Bytes of chunks that no earlier point had.
    pub(crate) new_bytes: u64,
    /// What the point added to the datastore.
    pub(crate) stored_bytes: u64,
    /// The disks, by position.
    #[serde(default)]
    pub(crate) disks: Vec<DiskFile>,
    /// The image of the VM's memory, stored beside the disks at position [`MEMORY`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<DiskFile>,
    /// What it holds, for people, where that is no VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<PointSummary>,
    /// XAPI's records of the VM and of what belongs to it, as they were when the snapshot was made.
    #[serde(default)]
    pub(crate) records: Records,
}

/// In place of a name that a damaged point lacks.
static UNNAMED: Named<String> = Named { id: String::new(), name: String::new() };

/// Something with an id and the name it bore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named<Id> {
    /// What lasts.
    #[serde(rename = "uuid")]
    pub(crate) id: Id,
    /// What people call it.
    pub(crate) name: String,
}

/// The pool that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolFile {
    pub(crate) uuid: String,
    pub(crate) name: String,
    /// Product and version of its master.
    pub(crate) product: String,
}

/// A disk of the point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskFile {
    #[serde(flatten)]
    pub(crate) disk: PointDisk,
    /// Bytes that are no holes: what a thin SR needs at least.
    pub(crate) data_bytes: u64,
}

/// XAPI's records, unread: every field of the release they came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Records {
    pub(crate) vm: Value,
    pub(crate) vbds: Vec<Value>,
    pub(crate) vifs: Vec<Value>,
    pub(crate) vdis: Vec<Value>,
    pub(crate) networks: Vec<Value>,
}

impl PointFile {
    /// All that is stored as disks: the VM's disks, and its memory.
    pub(crate) fn images(&self) -> impl Iterator<Item = &DiskFile> {
        self.disks.iter().chain(&self.memory)
    }

    /// What was read: a VM, a pool, a host.
    pub(crate) fn source(&self) -> &Named<String> {
        self.vm.as_ref().or(self.source.as_ref()).unwrap_or(&UNNAMED)
    }

    /// The point as the catalogue knows it.
    pub(crate) fn to_point(&self, id: String, datastore: DatastoreId) -> Point {
        Point {
            id,
            datastore,
            client: self.client.id,
            client_name: self.client.name.clone(),
            job: self.job,
            kind: self.kind,
            source_uuid: self.source().id.clone(),
            source_name: self.source().name.clone(),
            taken_at: self.taken_at,
            size_bytes: self.size_bytes,
            new_bytes: self.new_bytes,
            stored_bytes: self.stored_bytes,
            disks: self.disks.iter().map(|file| file.disk.clone()).collect(),
            protection: None,
            damage: None,
            summary: self.summary.clone(),
            backup_type: self.backup_type,
            consistency: self.reached().map(|reached| PointConsistency {
                asked: self.consistency_asked.unwrap_or(reached),
                reached,
                by: self.quiesced_by,
                memory_bytes: self.memory.as_ref().map(|file| file.disk.size_bytes),
            }),
            left_out: self.left_out.clone(),
        }
    }

    /// In which state the disks are; none if a newer xenkeep says something that this one does not know.
    fn reached(&self) -> Option<Consistency> {
        serde_json::from_value(Value::String(self.consistency.clone())).ok()
    }
}
