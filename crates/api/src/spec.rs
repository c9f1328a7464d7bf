//! What jobs are to do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    BackupOptions, BackupOrder, BackupType, ClientId, DatastoreId, ExportCompression, ExportFormat, JobId, KeyChange,
    Placement, PruneRequest, RestorePlaces, Source, Transport, VerifyRequest,
};

/// What a job is to do. Written to the database as it is: ids, no secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "one a job, moved a few times and written as JSON")]
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
        /// How it is read.
        #[serde(default)]
        backup_type: BackupType,
        /// The rest of how.
        #[serde(default)]
        options: BackupOptions,
    },
    /// Find out what a source means today.
    ExpandSelection {
        /// The pool.
        client: ClientId,
        /// A selection, or all hosts.
        source: Source,
        /// What is queued for each that is found; nothing is if absent.
        order: Option<BackupOrder>,
    },
    /// Back up a pool's database.
    BackupMetaData {
        /// The pool.
        client: ClientId,
        /// Where the point goes.
        datastore: DatastoreId,
        /// Overrides the client's transport.
        transport: Option<Transport>,
    },
    /// Back up the control domain of a host, or of each host: a point a host.
    BackupHost {
        /// The pool.
        client: ClientId,
        /// name-label or uuid of the host; none is all of them.
        host: Option<String>,
        /// Where the points go.
        datastore: DatastoreId,
        /// Overrides the client's transport.
        transport: Option<Transport>,
    },
    /// Put a pool's database back, or see whether the pool would take it.
    RestoreMetaData {
        /// The pool to restore to.
        client: ClientId,
        /// Where the point lies.
        datastore: DatastoreId,
        /// Full id of the point.
        point: String,
        /// The pool only says whether it would take it.
        dry_run: bool,
        /// Overrides the client's transport.
        transport: Option<Transport>,
    },
    /// Put a host's backup on its backup partition.
    RestoreHost {
        /// The pool.
        client: ClientId,
        /// name-label or uuid of the host.
        host: String,
        /// Where the point lies.
        datastore: DatastoreId,
        /// Full id of the point.
        point: String,
        /// Also if product or version differ.
        force: bool,
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
        /// Position of the disk for the forms of one disk.
        disk: Option<String>,
        /// Compresses a qcow2 image.
        #[serde(default)]
        compression: Option<ExportCompression>,
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
            Self::ExpandSelection { .. } => JobKind::ExpandSelection,
            Self::BackupMetaData { .. } => JobKind::BackupMetaData,
            Self::BackupHost { .. } => JobKind::BackupHost,
            Self::RestoreMetaData { .. } => JobKind::RestoreMetaData,
            Self::RestoreHost { .. } => JobKind::RestoreHost,
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
            | Self::ExpandSelection { client, .. }
            | Self::BackupMetaData { client, .. }
            | Self::BackupHost { client, .. }
            | Self::RestoreMetaData { client, .. }
            | Self::RestoreHost { client, .. }
            | Self::PlanRestore { client, .. }
            | Self::Restore { client, .. } => Some(*client),
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
            | Self::BackupMetaData { datastore, .. }
            | Self::BackupHost { datastore, .. }
            | Self::RestoreMetaData { datastore, .. }
            | Self::RestoreHost { datastore, .. }
            | Self::Restore { datastore, .. }
            | Self::PlanRestore { datastore, .. }
            | Self::Export { datastore, .. }
            | Self::ForgetPoints { datastore, .. }
            | Self::ProtectPoint { datastore, .. }
            | Self::PruneDatastore { datastore, .. }
            | Self::VerifyDatastore { datastore, .. }
            | Self::CopyPoints { datastore, .. } => Some(*datastore),
            Self::Recover { datastore, .. } => *datastore,
            Self::CheckClient { .. } | Self::BrowseClient { .. } | Self::ExpandSelection { .. } => None,
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
            | Self::RestoreMetaData { point, .. }
            | Self::RestoreHost { point, .. }
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
            Self::Restore { point, .. }
            | Self::RestoreMetaData { point, .. }
            | Self::RestoreHost { point, .. }
            | Self::PlanRestore { point, .. }
            | Self::Export { point, .. } => Some(point),
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
    ExpandSelection,
    BackupMetaData,
    BackupHost,
    RestoreMetaData,
    RestoreHost,
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
