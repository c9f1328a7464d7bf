use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Protection, SnapshotId};

/// What a new restore point is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Whose it is: the client's name (restic's `hostname`).
    pub host: String,
    /// Directory of the point in the restic snapshot: `/<client>/<vm uuid>`.
    pub root: String,
    /// Tags for people and for `restic snapshots --tag`. They must hold no comma.
    pub tags: Vec<String>,
    /// When what it holds was frozen.
    pub time: Timestamp,
}

/// A restore point, as its snapshot file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointMeta {
    /// Its id.
    pub id: SnapshotId,
    /// When what it holds was frozen.
    pub time: Timestamp,
    /// Whose it is: the client's name.
    pub host: String,
    /// Tags, without the one that marks our points.
    pub tags: Vec<String>,
    /// Directory of the point in the restic snapshot.
    pub root: String,
    /// Why it must not be removed, if somebody has protected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<Protection>,
}

/// The points of a repository, and the snapshot files that cannot be read.
#[derive(Clone, Debug, Default)]
pub struct PointList {
    /// Readable points, oldest first.
    pub points: Vec<PointMeta>,
    /// Snapshot files that are damaged. Whether they were ours cannot be said.
    pub damaged: Vec<DamagedPoint>,
}

/// A snapshot file that cannot be read.
#[derive(Clone, Debug)]
pub struct DamagedPoint {
    /// Its name.
    pub id: SnapshotId,
    /// What is wrong with it.
    pub error: Error,
}
