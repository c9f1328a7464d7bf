//! Which job runs next.
//!
//! 1. Recoveries come first, and have the pool of their client to themselves.
//! 2. Then short jobs, which only look, or change little in a repository: a person waits for them. They wait for nothing.
//! 3. Then the jobs that move data, in order of arrival, so many in all and so many a client at once. Prunes and
//!    verifications stand in the same row; of them only a few run at once, so that backups are not held up.
//! 4. Never do two jobs run on one VM, nor two prunes, verifications or copies on one datastore.

use jiff::Timestamp;
use xenkeep_api::{JobId, JobKind, JobSpec, Placement, Point};
use xenkeep_catalog::QueueEntry;

use crate::Limits;

/// Chooses the next of the waiting jobs (given in order of arrival).
pub(crate) fn choose(now: Timestamp, limits: &Limits, waiting: &[QueueEntry], running: &[QueueEntry]) -> Option<JobId> {
    let due = |job: &&QueueEntry| job.not_before <= now;
    let of_class = |class: Class| waiting.iter().filter(due).filter(move |job| Class::of(job.kind) == class);
    of_class(Class::Recovery)
        .find(|job| may_recover(job, running))
        .or_else(|| of_class(Class::Short).next())
        .or_else(|| waiting.iter().filter(due).find(|job| may_work(now, limits, job, waiting, running)))
        .map(|job| job.id)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Recovery,
    Short,
    Data,
    Upkeep,
}

impl Class {
    fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Recover => Self::Recovery,
            JobKind::CheckClient
            | JobKind::BrowseClient
            | JobKind::PlanRestore
            | JobKind::ExpandSelection
            | JobKind::CreateDatastore
            | JobKind::AttachDatastore
            | JobKind::DatastoreKeys
            | JobKind::ForgetPoints
            | JobKind::ProtectPoint => Self::Short,
            JobKind::Backup
            | JobKind::BackupMetaData
            | JobKind::BackupHost
            | JobKind::RestoreMetaData
            | JobKind::RestoreHost
            | JobKind::Restore
            | JobKind::Export
            | JobKind::CopyPoints => Self::Data,
            JobKind::PruneDatastore | JobKind::VerifyDatastore | JobKind::RescanDatastore => Self::Upkeep,
        }
    }
}

/// It has its pool to itself.
fn may_recover(job: &QueueEntry, running: &[QueueEntry]) -> bool {
    !running.iter().any(|other| Class::of(other.kind) != Class::Short && same_client(job, other))
}

/// There is room for one more of the long jobs, and nothing speaks against this one.
fn may_work(now: Timestamp, limits: &Limits, job: &QueueEntry, waiting: &[QueueEntry], running: &[QueueEntry]) -> bool {
    let of = |class: Class| running.iter().filter(move |other| Class::of(other.kind) == class).count();
    if of(Class::Data) + of(Class::Upkeep) >= limits.jobs || running.iter().any(|other| same_work(job, other)) {
        return false;
    }
    match Class::of(job.kind) {
        Class::Data => may_move(now, limits, job, waiting, running),
        Class::Upkeep => of(Class::Upkeep) < limits.upkeep,
        Class::Recovery | Class::Short => false,
    }
}

/// Two prunes, verifications or copies that meet in a datastore: what one does, the other need not.
fn same_work(a: &QueueEntry, b: &QueueEntry) -> bool {
    let copies = a.kind == JobKind::CopyPoints;
    let place = |job: &QueueEntry| if copies { job.target } else { job.datastore };
    a.kind == b.kind && (copies || Class::of(a.kind) == Class::Upkeep) && place(a) == place(b)
}

fn may_move(now: Timestamp, limits: &Limits, job: &QueueEntry, waiting: &[QueueEntry], running: &[QueueEntry]) -> bool {
    let data = |other: &&QueueEntry| Class::of(other.kind) == Class::Data;
    if running.iter().filter(data).filter(|other| same_client(job, other)).count() >= limits.jobs_per_client {
        return false;
    }
    if running.iter().any(|other| same_client(job, other) && (is_recovery(other) || same_vm(job, other))) {
        return false;
    }
    // A recovery that is due keeps the others of its client back, or it would never be alone. One that waits for its
    // next try keeps back only who wants the same VM.
    let recoveries = waiting.iter().filter(|other| is_recovery(other) && same_client(job, other));
    !recoveries.into_iter().any(|other| other.not_before <= now || same_vm(job, other))
}

fn is_recovery(job: &QueueEntry) -> bool {
    Class::of(job.kind) == Class::Recovery
}

fn same_client(a: &QueueEntry, b: &QueueEntry) -> bool {
    a.client.is_some() && a.client == b.client
}

fn same_vm(a: &QueueEntry, b: &QueueEntry) -> bool {
    match (&a.vm_key, &b.vm_key) {
        (Some(a), Some(b)) => VmKey::parse(a).may_be(&VmKey::parse(b)),
        _ => false,
    }
}

/// Which VM of its pool a job must have for itself. The server never asks the pool, so it knows a VM only by what
/// was typed: where a name and a uuid might mean the same VM, they are taken to do so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VmKey {
    Uuid(String),
    Name(String),
    /// The name of a VM that a restore is about to make. Its uuid is known to nobody.
    New(String),
}

impl VmKey {
    /// The VM of a job; none if it has none. `point` is the one that the job reads.
    pub(crate) fn of(spec: &JobSpec, point: Option<&Point>) -> Option<Self> {
        match spec {
            JobSpec::Backup { vm, .. } => Some(match uuid::Uuid::try_parse(vm) {
                Ok(uuid) => Self::Uuid(uuid.to_string()),
                Err(_) => Self::Name(vm.clone()),
            }),
            JobSpec::Restore { placement: Placement::Beside { name }, .. } => Some(Self::New(name.clone())),
            JobSpec::Restore { placement: Placement::Overwrite { .. }, .. } => {
                point.map(|point| Self::Uuid(point.source_uuid.to_ascii_lowercase()))
            }
            _ => None,
        }
    }

    /// As it is stored with the job.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Uuid(uuid) => format!("uuid:{uuid}"),
            Self::Name(name) => format!("name:{name}"),
            Self::New(name) => format!("new:{name}"),
        }
    }

    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("uuid", uuid)) => Self::Uuid(uuid.to_owned()),
            Some(("new", name)) => Self::New(name.to_owned()),
            Some(("name", name)) => Self::Name(name.to_owned()),
            _ => Self::Name(text.to_owned()),
        }
    }

    fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Name(a) | Self::New(a), Self::Name(b) | Self::New(b)) => a == b,
            (Self::Uuid(_), Self::Name(_)) | (Self::Name(_), Self::Uuid(_)) => true,
            (Self::Uuid(_), Self::New(_)) | (Self::New(_), Self::Uuid(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests;
