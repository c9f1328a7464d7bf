//! The words that two sides of xenkeep share: ids, records, job descriptions, progress, problems.
//!
//! The server answers with these types, the command line and the web UI read them, a mover is told by them what to do.
//! They carry no behaviour beyond (de)serialisation and what follows from a value alone.
//!
//! *Not* here: how anything is stored (`xenkeep-catalog`), decided (`xenkeep-server`) or done (`xenkeep-mover`).
//!
//! ```
//! use xenkeep_api::{JobState, Problem};
//!
//! assert!(JobState::Failed.is_final());
//! let problem = Problem::new("vm.not_found", "no VM on pool lab is called web1").hint("xenkeep vm list lab shows all VMs");
//! assert_eq!(serde_json::to_value(&problem).unwrap()["code"], "vm.not_found");
//! ```

pub mod browse;
mod checks;
mod clients;
mod datastores;
mod drives;
mod groups;
mod hosts;
#[cfg(feature = "http")]
pub mod http;
mod ids;
mod inventory;
mod jobs;
mod lease;
mod metadata;
mod movers;
mod options;
mod points;
mod problem;
mod reports;
mod restores;
mod result;
mod retention;
mod schedules;
mod secret;
mod spec;
mod tasks;
mod upkeep;

pub use browse::{Fact, Node, NodeKind};
pub use checks::{Check, CheckOutcome, ClientCheck};
pub use clients::{Client, ClientChange, ClientLimits, NewClient, Transport};
pub use datastores::{
    AttachRequest, Attached, Datastore, DatastoreKey, KeyChange, KnownPoint, NewDatastore, NewKey, RecoverySheet,
    RescanSummary, S3Place, UnreadablePoint,
};
pub use drives::{Drive, DriveChange, DriveJob, DriveState, NewDrive};
pub use groups::{Group, GroupChange, NewGroup};
pub use hosts::{HostBackupRequest, HostRestoreRequest, HostRestored, HostSummary};
pub use ids::{ClientId, DatastoreId, JobId, RunId, ScheduleId, TaskId};
pub use inventory::{
    NotAPowerState, PoolDisk, PoolHost, PoolInterface, PoolInventory, PoolNetwork, PoolSr, PoolSummary, PoolVm,
    PowerState, TransferNetwork,
};
pub use jobs::{DiskProgress, Job, JobReport, JobState, LogLevel, LogLine, Origin, Progress, RetryPolicy};
pub use lease::{ClientAccess, DatastoreAccess, Directive, JournalEntry, LeasedJob, MemberAccess, Places};
pub use metadata::{DatabaseSummary, MetaDataBackupRequest, MetaDataRestoreRequest, MetaDataRestored};
pub use movers::{
    ANY_MOVER, AddedMover, Fence, Finish, JournalWrite, LOCAL_MOVER, Mover, MoverChoice, MoverHello, MoverWelcome,
    NewMover, Occupation, Occupied, Renewal, Renewed,
};
pub use options::{
    BackupOptions, BackupType, Consistency, DiskPattern, FREEZE_LIMIT_SECONDS, HOOK_LIMIT_SECONDS, Hook,
    NotABackupType, NotADiskPattern, parse_expert,
};
pub use points::{
    LeftOutDisk, Point, PointConsistency, PointDisk, PointFilter, PointKind, PointProtection, PointSummary, QuiescedBy,
};
pub use problem::Problem;
pub use reports::{
    DailySummary, DeliveryState, Language, MailRequest, MailSecurity, MailSettings, NewWebhook, OverdueVm, Report,
    ReportDelivery, ReportKind, ReportWhen, ReportedJob, SummaryFindings, Webhook,
};
pub use restores::{
    BackupRequest, ExportCompression, ExportFormat, ExportRequest, NetworkMatch, Placement, PlannedDisk,
    PlannedNetwork, PlannedSr, ReplacedVm, RestorePlaces, RestorePlan, RestoreRequest, RestoredVm, UnmappedNetworks,
};
pub use result::JobResult;
pub use retention::{
    ForgetRequest, KeepReason, KeepWithin, NotATime, PlannedPoint, ProtectRequest, RetentionGroup, RetentionPlan,
    RetentionPolicy, RetentionRequest, RetentionStarted,
};
pub use schedules::{
    Blackout, BlackoutRequest, DayOrTime, FollowUpOn, FollowUpState, NewSchedule, NotADay, NotATarget, Overlap,
    PlannedStart, Schedule, ScheduleSettings, ScheduleStart, StartOutcome, Target,
};
pub use secret::Secret;
pub use spec::{JobKind, JobSpec};
pub use tasks::{
    BackupOrder, Exclusion, NewTask, NotASource, Run, RunCounts, Selected, SelectedHost, SelectedVm, Selection,
    SelectionRequest, Source, StartRequest, Started, Task, TaskChange,
};
pub use upkeep::{
    CopyRequest, CopySummary, DamagedFile, DatastoreState, LastPrune, LastVerify, PackCount, PointDamage, PruneClass,
    PruneRequest, PruneSummary, PruneWaiting, TouchedPoint, UndecidedFile, VerifyDepth, VerifyRequest, VerifySummary,
};
