//! What jobs make or find.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Check, CopySummary, DatastoreKey, HostRestored, MetaDataRestored, Point, PointProtection, PoolInventory,
    PoolSummary, PruneSummary, RescanSummary, RestorePlan, RestoredVm, Selected, VerifySummary,
};

/// What a job made or found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "one a job, moved a few times and written as JSON")]
pub enum JobResult {
    /// Of `check-client`; also of one that could not log in.
    Pool {
        /// What the pool says of itself; none when nobody could log in.
        pool: Option<PoolSummary>,
        /// What was looked at, and how it came out.
        #[serde(default)]
        checks: Vec<Check>,
    },
    /// Of `browse-client`.
    Inventory {
        /// What is on the pool.
        inventory: Box<PoolInventory>,
    },
    /// Of `create-datastore` and `attach-datastore`.
    Datastore {
        /// The repository's id.
        repository_id: String,
    },
    /// Of `rescan-datastore`.
    Rescanned {
        /// What was found.
        rescan: RescanSummary,
    },
    /// Of `datastore-keys`.
    Keys {
        /// All passwords that there are now.
        keys: Vec<DatastoreKey>,
    },
    /// Of `backup` and `backup-meta-data`.
    Point {
        /// The restore point that was written.
        point: Point,
    },
    /// Of `expand-selection`.
    Selected {
        /// What the source means today.
        selected: Selected,
    },
    /// Of `backup-host`; also of one that failed or was cancelled half-way.
    Points {
        /// The restore points that were written, one a host.
        points: Vec<Point>,
    },
    /// Of `restore-meta-data`.
    MetaDataRestored {
        /// What came of it.
        restored: MetaDataRestored,
    },
    /// Of `restore-host`.
    HostRestored {
        /// What came of it.
        restored: HostRestored,
    },
    /// Of `restore`.
    Vm {
        /// The VM that was made.
        vm: RestoredVm,
    },
    /// Of `plan-restore`.
    RestorePlan {
        /// What the restore would do.
        plan: Box<RestorePlan>,
    },
    /// Of `export`.
    Export {
        /// Length of the stream, bytes.
        bytes: u64,
        /// SHA-256 of the stream, lower-case hex.
        sha256: String,
    },
    /// Of `forget-points`; also of one that failed or was cancelled half-way.
    Forgotten {
        /// Full ids of the points that are gone.
        points: Vec<String>,
    },
    /// Of `protect-point`.
    Protection {
        /// Full id of the point.
        point: String,
        /// How it is protected now.
        protection: Option<PointProtection>,
    },
    /// Of `prune-datastore`.
    Pruned {
        /// What was found and done.
        prune: PruneSummary,
    },
    /// Of `verify-datastore`; also of one that failed because of what it found.
    Verified {
        /// What was found.
        verify: VerifySummary,
    },
    /// Of `copy-points`; also of one that failed or was cancelled half-way.
    Copied {
        /// What was copied.
        copy: CopySummary,
    },
    /// Of `recover`.
    Recovered {
        /// What was undone on the pool, a line each.
        undone: Vec<String>,
        /// Points that the interrupted job had finished.
        points: Vec<Point>,
    },
}
