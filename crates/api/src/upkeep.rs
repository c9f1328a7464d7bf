//! Upkeep of datastores: pruning, verifying, copying; what is asked, and what came of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{JobId, Point};

/// How a datastore is pruned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PruneRequest {
    /// Only say what would be done.
    pub dry_run: bool,
    /// What nothing refers to is deleted no sooner than so many seconds after it was marked.
    pub grace_seconds: u64,
    /// Unused bytes may make up this much of the datastore, in percent; above it, packs that are partly used are
    /// written anew.
    pub max_unused_percent: f64,
}

impl Default for PruneRequest {
    fn default() -> Self {
        Self { dry_run: false, grace_seconds: 3600, max_unused_percent: 5.0 }
    }
}

/// What a prune has found and done, or with `dry_run` would do. Packs are the files that hold the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PruneSummary {
    /// Nothing was done.
    pub dry_run: bool,
    /// Points that were looked at.
    pub points: u64,
    /// Bytes that points refer to.
    pub used_bytes: u64,
    /// Bytes that no point refers to, and that no earlier prune has marked.
    pub unused_bytes: u64,
    /// Packs that can go, and packs that stay though not all of them is used; and why.
    pub classes: Vec<PruneClass>,
    /// What can go.
    pub to_delete: PackCount,
    /// Of this, packs whose used part is written anew first.
    pub repacked: PackCount,
    /// Bytes of these used parts.
    pub rewritten_bytes: u64,
    /// Marked for deletion by this run.
    pub marked: PackCount,
    /// Deleted by this run.
    pub deleted: PackCount,
    /// Marked earlier, but a point refers to it again: kept.
    pub rescued_packs: u64,
    /// Marked, and what their deletion waits for.
    pub waiting: Vec<PruneWaiting>,
    /// Bytes in the datastore afterwards.
    pub stored_bytes: u64,
    /// Bytes that the next prune can free: what waits, and after a dry run what would be marked.
    pub reclaimable_bytes: u64,
}

/// Packs of one kind, and why they go or stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneClass {
    /// Why: one sentence.
    pub why: String,
    /// How many.
    pub count: PackCount,
    /// Of their bytes, those that no point refers to.
    pub unused_bytes: u64,
}

/// A number of packs and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackCount {
    /// How many.
    pub packs: u64,
    /// Their size.
    pub bytes: u64,
}

/// Packs that were marked for deletion, and what they wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneWaiting {
    /// How many.
    pub count: PackCount,
    /// What for: one sentence.
    pub reason: String,
    /// When that is over, if it is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// How thoroughly a datastore is verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyDepth {
    /// Everything that is referred to exists and has its size.
    #[default]
    Quick,
    /// Besides, everything is read, decrypted and compared with its checksum.
    Full,
}

/// What of a datastore is verified.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// How thoroughly.
    #[serde(default)]
    pub depth: VerifyDepth,
    /// Of a full one: read only this much of the data, in percent: that which was verified longest ago.
    #[serde(default)]
    pub share_percent: Option<f64>,
    /// Of a full one: read only what was not verified for so many seconds.
    #[serde(default)]
    pub older_than_seconds: Option<u64>,
}

impl VerifyRequest {
    /// It looks at everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.share_percent.is_none() && self.older_than_seconds.is_none()
    }
}

/// What a verification has found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerifySummary {
    /// What was asked for.
    pub request: VerifyRequest,
    /// Points that were looked at.
    pub points: u64,
    /// Packs in the datastore: the files that hold the data.
    pub packs_total: u64,
    /// Their size.
    pub bytes_total: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Bytes that were read of them.
    pub bytes_read: u64,
    /// Files that are missing or damaged; the first hundred.
    pub files: Vec<DamagedFile>,
    /// Further ones.
    pub more_files: u64,
    /// Files of which it could not be said whether they are damaged.
    pub undecided: Vec<UndecidedFile>,
    /// Points that can't be restored whole, oldest first.
    pub touched: Vec<TouchedPoint>,
    /// Damaged pieces of which a good copy lies elsewhere: nothing is lost with them.
    pub healed_chunks: u64,
    /// Packs that an earlier verification found damaged and that are good again, or gone.
    pub cleared_packs: u64,
    /// Bytes in packs that no index knows: of backups that run now, or were killed.
    pub unindexed_bytes: u64,
    /// Packs that have never been read whole.
    pub never_read_packs: u64,
    /// When the pack was read that was read longest ago, if all have been.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_read: Option<Timestamp>,
}

impl VerifySummary {
    /// Everything that was looked at is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.files.is_empty() && self.undecided.is_empty() && self.touched.is_empty()
    }
}

/// A file that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UndecidedFile {
    /// Its name in the repository.
    pub name: String,
    /// What stood in the way.
    pub why: String,
}

/// A file of a datastore that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamagedFile {
    /// Its name in the repository.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
    /// Pieces of disks and descriptions in it that can't be read.
    pub chunks: u64,
    /// Those of them of which there is no good copy elsewhere.
    pub lost_chunks: u64,
    /// Points that it touches.
    pub points: u64,
    /// What can be done.
    pub remedy: String,
}

/// A point that damage touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TouchedPoint {
    /// Its id.
    pub point: String,
    /// The client's name at its time.
    pub client_name: String,
    /// uuid of the VM, the pool or the host.
    pub source_uuid: String,
    /// Its name-label; none where the damage hides it.
    pub source_name: Option<String>,
    /// When the disks were frozen.
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: Timestamp,
    /// Positions of the disks that are touched.
    pub disks: Vec<String>,
    /// Files beside the disks that are touched.
    pub files: Vec<String>,
    /// A directory above all of them is lost: nothing of the point can be found.
    pub whole: bool,
}

/// Copy points to another datastore. One of the three says which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyRequest {
    /// Name or id of the datastore to copy to.
    pub target: String,
    /// Ids of the points, or unique prefixes.
    #[serde(default)]
    pub points: Vec<String>,
    /// All points of this VM: name-label or uuid.
    #[serde(default)]
    pub vm: Option<String>,
    /// All points.
    #[serde(default)]
    pub all: bool,
}

/// What a copy has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CopySummary {
    /// The points that are in the target now, as they are called there.
    pub points: Vec<Point>,
    /// How many of them had been there already.
    pub present: u64,
    /// Bytes that were read from the source.
    pub read_bytes: u64,
    /// Bytes that were added to the target.
    pub stored_bytes: u64,
}

/// Damage that a verification found in a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointDamage {
    /// When it was found.
    #[schema(value_type = String, format = DateTime)]
    pub found_at: Timestamp,
    /// How thorough the verification was that found it.
    pub depth: VerifyDepth,
    /// Positions of the disks that can't be restored whole.
    pub disks: Vec<String>,
    /// Files beside the disks that can't be read.
    pub files: Vec<String>,
    /// Nothing of it can be restored.
    pub whole: bool,
}

/// What is known of a datastore's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DatastoreState {
    /// Restore points in it.
    pub points: u64,
    /// Bytes in it: as measured by the last prune or verification, and what jobs have added since. None before the
    /// first of these.
    pub stored_bytes: Option<u64>,
    /// The last quick verification of everything.
    pub verified_quick: Option<LastVerify>,
    /// The last full verification, also of a part.
    pub verified_full: Option<LastVerify>,
    /// The last prune, also a dry run.
    pub pruned: Option<LastPrune>,
}

/// How the last verification of a kind ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastVerify {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// What was asked for.
    pub request: VerifyRequest,
    /// Files that are missing or damaged.
    pub damaged_files: u64,
    /// Points that this touches.
    pub touched_points: u64,
}

/// How the last prune ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastPrune {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// Bytes that it deleted.
    pub deleted_bytes: u64,
    /// Bytes that the next prune can free.
    pub reclaimable_bytes: u64,
}
