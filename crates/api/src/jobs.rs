//! Jobs: one run of one thing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Check, ClientId, CopySummary, DatastoreId, DatastoreKey, ExportFormat, JobId, KeyChange, Placement, Point,
    PointProtection, PoolInventory, PoolSummary, Problem, PruneRequest, PruneSummary, RescanSummary, RestorePlaces, RestorePlan, RestoredVm, Transport,
    VerifyRequest, VerifySummary,
};

/// What a job is to do. Written to the database as it is: ids, no secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JobSpec {
    /// Log in to a client's pool, pin its certificate, say what it is.
    CheckClient {
        /// The pool.
        client: ClientId,
    },
    /// List what is on a client's pool: hosts, SRs, networks, VMs.
    BrowseClient {
        /// The pool.
        client: ClientId,
    },
    /// Create the repository of a datastore.
    CreateDatastore {
        /// The datastore.
        datastore: DatastoreId,
    },
    /// Open a repository that is there already.
    AttachDatastore {
        /// The datastore that it becomes.
        datastore: DatastoreId,
    },
    /// Make the catalogue agree with a repository.
    RescanDatastore {
        /// The datastore.
        datastore: DatastoreId,
    },
    /// List, add or remove passwords of a repository.
    DatastoreKeys {
        /// The datastore.
        datastore: DatastoreId,
        /// What to do.
        change: KeyChange,
    },
    /// Back up one VM.
    Backup {
        /// The pool.
        client: ClientId,
        /// name-label or uuid of the VM.
        vm: String,
        /// Where the point goes.
        datastore: DatastoreId,
        /// Overrides the client's transport.
        transport: Option<Transport>,
    },
    /// Restore a VM.
    Restore {
        /// The pool to restore to.
        client: ClientId,
        /// Where the point lies.
        datastore: DatastoreId,
        /// Full id of the point.
        point: String,
        /// Where the VM goes.
        placement: Placement,
        /// SRs and networks.
        #[serde(flatten)]
        places: RestorePlaces,
        /// Start it afterwards.
        start: bool,
        /// Overrides the client's transport.
        transport: Option<Transport>,
    },
    /// Say what a restore of a VM would do, without doing it.
    PlanRestore {
        /// The pool to restore to.
        client: ClientId,
        /// Where the point lies.
        datastore: DatastoreId,
        /// Full id of the point.
        point: String,
        /// Where the VM goes.
        placement: Placement,
        /// SRs and networks.
        #[serde(flatten)]
        places: RestorePlaces,
        /// Start it afterwards.
        start: bool,
    },
    /// Stream a point, or a disk of it, to whoever asked.
    Export {
        /// Where the point lies.
        datastore: DatastoreId,
        /// Full id of the point.
        point: String,
        /// The form.
        format: ExportFormat,
        /// Position of the disk for `raw`.
        disk: Option<String>,
    },
    /// Remove restore points from their datastore.
    ForgetPoints {
        /// Where they lie.
        datastore: DatastoreId,
        /// Their full ids.
        points: Vec<String>,
    },
    /// Protect a restore point from being removed, or lift that.
    ProtectPoint {
        /// Where it lies.
        datastore: DatastoreId,
        /// Its full id.
        point: String,
        /// Why; none lifts the protection.
        reason: Option<String>,
    },
    /// Free what no restore point refers to.
    PruneDatastore {
        /// The datastore.
        datastore: DatastoreId,
        /// How.
        request: PruneRequest,
    },
    /// See whether all that is stored can be read.
    VerifyDatastore {
        /// The datastore.
        datastore: DatastoreId,
        /// What of it, and how thoroughly.
        request: VerifyRequest,
    },
    /// Copy restore points to another datastore.
    CopyPoints {
        /// Where they lie.
        datastore: DatastoreId,
        /// Where the copies go.
        target: DatastoreId,
        /// Their full ids.
        points: Vec<String>,
    },
    /// Undo what an interrupted job left outside, and find the points that it finished unseen.
    Recover {
        /// The job that was interrupted.
        interrupted: JobId,
        /// Its pool, if it had one.
        client: Option<ClientId>,
        /// Its datastore, if it had one.
        datastore: Option<DatastoreId>,
    },
}

impl JobSpec {
    /// Its kind alone.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::CheckClient { .. } => JobKind::CheckClient,
            Self::BrowseClient { .. } => JobKind::BrowseClient,
            Self::CreateDatastore { .. } => JobKind::CreateDatastore,
            Self::AttachDatastore { .. } => JobKind::AttachDatastore,
            Self::RescanDatastore { .. } => JobKind::RescanDatastore,
            Self::DatastoreKeys { .. } => JobKind::DatastoreKeys,
            Self::Backup { .. } => JobKind::Backup,
            Self::Restore { .. } => JobKind::Restore,
            Self::PlanRestore { .. } => JobKind::PlanRestore,
            Self::Export { .. } => JobKind::Export,
            Self::ForgetPoints { .. } => JobKind::ForgetPoints,
            Self::ProtectPoint { .. } => JobKind::ProtectPoint,
            Self::PruneDatastore { .. } => JobKind::PruneDatastore,
            Self::VerifyDatastore { .. } => JobKind::VerifyDatastore,
            Self::CopyPoints { .. } => JobKind::CopyPoints,
            Self::Recover { .. } => JobKind::Recover,
        }
    }

    /// The client it needs, if any.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        match self {
            Self::CheckClient { client }
            | Self::BrowseClient { client }
            | Self::Backup { client, .. }
            | Self::Restore { client, .. }
            | Self::PlanRestore { client, .. } => Some(*client),
            Self::Recover { client, .. } => *client,
            Self::CreateDatastore { .. }
            | Self::AttachDatastore { .. }
            | Self::RescanDatastore { .. }
            | Self::DatastoreKeys { .. }
            | Self::Export { .. }
            | Self::ForgetPoints { .. }
            | Self::ProtectPoint { .. }
            | Self::PruneDatastore { .. }
            | Self::VerifyDatastore { .. }
            | Self::CopyPoints { .. } => None,
        }
    }

    /// The datastore it needs, if any.
    #[must_use]
    pub fn datastore(&self) -> Option<DatastoreId> {
        match self {
            Self::CreateDatastore { datastore }
            | Self::AttachDatastore { datastore }
            | Self::RescanDatastore { datastore }
            | Self::DatastoreKeys { datastore, .. }
            | Self::Backup { datastore, .. }
            | Self::Restore { datastore, .. }
            | Self::PlanRestore { datastore, .. }
            | Self::Export { datastore, .. }
            | Self::ForgetPoints { datastore, .. }
            | Self::ProtectPoint { datastore, .. }
            | Self::PruneDatastore { datastore, .. }
            | Self::VerifyDatastore { datastore, .. }
            | Self::CopyPoints { datastore, .. } => Some(*datastore),
            Self::Recover { datastore, .. } => *datastore,
            Self::CheckClient { .. } | Self::BrowseClient { .. } => None,
        }
    }

    /// The datastore that it writes copies to, if any.
    #[must_use]
    pub fn target(&self) -> Option<DatastoreId> {
        match self {
            Self::CopyPoints { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// The points that must stay while it waits or runs: it reads them.
    #[must_use]
    pub fn points_read(&self) -> &[String] {
        match self {
            Self::Restore { point, .. }
            | Self::PlanRestore { point, .. }
            | Self::Export { point, .. }
            | Self::ProtectPoint { point, .. } => std::slice::from_ref(point),
            Self::CopyPoints { points, .. } => points,
            _ => &[],
        }
    }

    /// The points that it removes.
    #[must_use]
    pub fn points_removed(&self) -> &[String] {
        match self {
            Self::ForgetPoints { points, .. } => points,
            _ => &[],
        }
    }

    /// The one point that it reads, if any.
    #[must_use]
    pub fn point(&self) -> Option<&str> {
        match self {
            Self::Restore { point, .. } | Self::PlanRestore { point, .. } | Self::Export { point, .. } => Some(point),
            _ => None,
        }
    }
}

/// Kind of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // each is documented at its JobSpec
pub enum JobKind {
    CheckClient,
    BrowseClient,
    CreateDatastore,
    AttachDatastore,
    RescanDatastore,
    DatastoreKeys,
    Backup,
    Restore,
    PlanRestore,
    Export,
    ForgetPoints,
    ProtectPoint,
    PruneDatastore,
    VerifyDatastore,
    CopyPoints,
    Recover,
}

/// State of a job: `queued` → `running` → one of the final ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a mover.
    Queued,
    /// A mover works on it.
    Running,
    /// Done, nothing to say.
    Success,
    /// Done, with something that the administrator should know.
    Warning,
    /// Not done; `problem` says why.
    Failed,
    /// Ended at the administrator's wish.
    Cancelled,
    /// Its mover was lost; a `recover` job undoes what it left.
    Interrupted,
}

impl JobState {
    /// Nothing more will happen to the job.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The job did what it was asked.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// A job as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it is to do.
    pub spec: JobSpec,
    /// For people: the name of the VM, client or datastore that it is about.
    pub subject: String,
    /// Its state.
    pub state: JobState,
    /// Cancelling was asked for and has not happened yet.
    pub cancel_requested: bool,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a mover took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub progress: Progress,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What the administrator should know though it succeeded.
    pub warnings: Vec<Problem>,
    /// What it made or found.
    pub result: Option<JobResult>,
}

/// How far a job is: numbers; text is made by who shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Present step, such as `resolve`, `snapshot`, `read`, `commit`, `cleanup`; empty before the first.
    pub step: String,
    /// Bytes to move in all (sum of virtual sizes), 0 while unknown.
    pub total_bytes: u64,
    /// Bytes of the disks dealt with so far, holes included.
    pub done_bytes: u64,
    /// Bytes that came over the wire, or went out.
    pub moved_bytes: u64,
    /// Bytes of chunks that the datastore did not have, before compression.
    pub new_bytes: u64,
    /// Bytes added to the datastore.
    pub stored_bytes: u64,
    /// The disks one by one.
    pub disks: Vec<DiskProgress>,
}

/// How far one disk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiskProgress {
    /// `userdevice`.
    pub position: String,
    /// Virtual size, bytes.
    pub total_bytes: u64,
    /// Bytes dealt with.
    pub done_bytes: u64,
}

/// Weight of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What happened.
    Info,
    /// What the administrator should look at.
    Warning,
    /// What made it fail.
    Error,
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Weight.
    pub level: LogLevel,
    /// The step in which it was written.
    pub step: String,
    /// The text, English, without secrets.
    pub text: String,
}

/// How a job ended, as its mover reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobReport {
    /// A final state.
    pub state: JobState,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What to know though it succeeded.
    pub warnings: Vec<Problem>,
    /// What it made or found.
    pub result: Option<JobResult>,
    /// The last numbers.
    pub progress: Progress,
}

/// What a job made or found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
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
    /// Of `backup`.
    Point {
        /// The restore point that was written.
        point: Point,
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
