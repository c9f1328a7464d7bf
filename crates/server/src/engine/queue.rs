//! Which job runs next, and why the others wait.
//!
//! 1. Recoveries come first, and have the pool of their client to themselves.
//! 2. Then short jobs, which only look, or change little in a repository: a person waits for them. They wait for nothing.
//! 3. Then the jobs that move data, prunes and verifications: by priority, then by name, then in order of arrival. So many
//!    run at once on a mover, on a pool, through a drive; of the prunes and verifications only a few.
//! 4. What replaces a pool's database has the pool to itself, too; once it is due, nobody begins there before it.
//! 5. Never do two jobs run on one VM, nor two prunes, verifications or copies on one datastore.
//!
//! What a job waits for because of its pool, its datastores or its drive holds for its whole lane
//! ([`Verdict::LaneWaits`]); what it waits for because of its VM or its time, for it alone.

use jiff::Timestamp;
use xenkeep_api::{JobKind, JobSpec, Placement, Places, Point, Problem};
use xenkeep_catalog::{QueueEntry, Rules, Standing, Verdict, WHOLE_POOL};

use crate::Limits;

/// The rules, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Timestamp,
    pub(crate) limits: &'a Limits,
}

impl Rules for Turn<'_> {
    fn rank(&self, kind: JobKind) -> u8 {
        match Class::of(kind) {
            Class::Recovery => 0,
            Class::Short => 1,
            Class::Data | Class::Upkeep => 2,
        }
    }

    fn judge(&self, standing: &Standing, mover: &str, job: &QueueEntry) -> Verdict {
        let waits = match Class::of(job.kind) {
            Class::Short => None,
            Class::Recovery => self.pool_in_use(standing, job),
            Class::Data | Class::Upkeep => self.mover_full(standing, mover).or_else(|| self.lane_waits(standing, job)),
        };
        match (waits, self.job_waits(standing, job)) {
            (Some(problem), _) => Verdict::LaneWaits(problem),
            (None, Some(problem)) => Verdict::JobWaits(problem),
            (None, None) => Verdict::Run,
        }
    }
}

impl Turn<'_> {
    /// Why a queued job waits, whatever mover may come.
    pub(crate) fn reason(&self, standing: &Standing, job: &QueueEntry) -> Problem {
        let waits = match Class::of(job.kind) {
            Class::Short => None,
            Class::Recovery => self.pool_in_use(standing, job),
            Class::Data | Class::Upkeep => self.lane_waits(standing, job),
        };
        // When it will be its time says more than what is in its way now.
        let soon = || Problem::new("queue.turn", "it is its turn as soon as a mover has room for one more job");
        self.too_early(job).or(waits).or_else(|| self.job_waits(standing, job)).unwrap_or_else(soon)
    }

    /// The mover has as many long jobs as it may have; short ones still fit in beside them.
    fn mover_full(&self, standing: &Standing, mover: &str) -> Option<Problem> {
        let long = standing.running.iter().filter(|other| is_long(other) && other.mover.as_deref() == Some(mover));
        let (count, limit) = (long.count(), self.limits.jobs);
        (count >= limit).then(|| {
            Problem::new("queue.mover_full", format!("mover {mover} has {count} jobs of {limit}"))
                .about(mover.to_owned())
        })
    }

    /// What keeps a long job back, and all that need the same pool, datastores and drive.
    fn lane_waits(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        self.drive_full(standing, job).or_else(|| same_work_runs(standing, job)).or_else(|| match Class::of(job.kind) {
            Class::Upkeep => self.upkeep_full(standing),
            _ if wants_pool(job) => self.pool_in_use(standing, job).or_else(|| self.recovery_due(standing, job)),
            _ => self
                .pool_busy(standing, job)
                .or_else(|| self.recovery_due(standing, job))
                .or_else(|| self.pool_taken(standing, job)),
        })
    }

    /// A pool whose database is replaced restarts: nobody else works on it then, nor begins before it.
    fn pool_taken(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        let running = standing.running.iter().filter(|other| wants_pool(other));
        let due = standing.alone.iter().filter(|other| other.not_before <= self.now);
        let other = running.chain(due).find(|other| same_client(job, other))?;
        let message = format!("job {} replaces the database of its pool, which restarts then", other.id);
        Some(Problem::new("queue.pool_taken", message).about(other.id.to_string()))
    }

    fn drive_full(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        let drive = job.drive?;
        let channels = standing.channels.get(&drive).copied().unwrap_or(0) as usize;
        let taken = standing.running.iter().filter(|other| other.drive == Some(drive)).count();
        (taken >= channels).then(|| {
            let message = format!("drive {drive} has no free channel: {taken} of {channels} are taken");
            Problem::new("queue.drive_full", message)
                .hint(format!("`xenkeep drive show {drive}` tells by which jobs"))
                .about(drive.to_string())
        })
    }

    fn upkeep_full(&self, standing: &Standing) -> Option<Problem> {
        let count = standing.running.iter().filter(|other| Class::of(other.kind) == Class::Upkeep).count();
        (count >= self.limits.upkeep).then(|| {
            Problem::new(
                "queue.upkeep_full",
                format!("{count} prunes, verifications or the like run, no more may at once"),
            )
        })
    }

    fn pool_busy(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        let client = job.client?;
        let limit = standing.limits.get(&client).and_then(|limits| limits.jobs);
        let limit = limit.map_or(self.limits.jobs_per_client, |limit| limit as usize);
        let data = |other: &&QueueEntry| Class::of(other.kind) == Class::Data && other.client == Some(client);
        let count = standing.running.iter().filter(data).count();
        (count >= limit).then(|| {
            Problem::new("queue.pool_busy", format!("{count} jobs work on its pool, no more than {limit} may at once"))
                .hint("`xenkeep client set NAME --jobs N` lets more of them work at once")
                .about(client.to_string())
        })
    }

    /// A recovery has its pool to itself. One that is due keeps the others of its client back, or it would never be
    /// alone.
    fn recovery_due(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        let running = standing.running.iter().filter(|other| is_recovery(other));
        let due = standing.recoveries.iter().filter(|other| other.not_before <= self.now);
        let recovery = running.chain(due).find(|other| same_client(job, other))?;
        let message = format!("job {} cleans up its pool first, after a job that was interrupted", recovery.id);
        Some(Problem::new("queue.recovery", message).about(recovery.id.to_string()))
    }

    /// What a recovery waits for: the long jobs of its pool.
    fn pool_in_use(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        let other = standing.running.iter().find(|other| !is_short(other) && same_client(job, other))?;
        let message = format!("it needs its pool for itself, and job {} ({}) runs there", other.id, other.subject);
        Some(Problem::new("queue.pool_in_use", message).about(other.id.to_string()))
    }

    /// What keeps back this job alone.
    fn job_waits(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        self.too_early(job).or_else(|| self.vm_busy(standing, job))
    }

    fn too_early(&self, job: &QueueEntry) -> Option<Problem> {
        (job.not_before > self.now).then(|| {
            let at = job.not_before.strftime("%Y-%m-%d %H:%M:%S UTC");
            Problem::new("queue.not_before", format!("it starts no sooner than {at}"))
        })
    }

    fn vm_busy(&self, standing: &Standing, job: &QueueEntry) -> Option<Problem> {
        if Class::of(job.kind) != Class::Data {
            return None;
        }
        let on_it = |other: &&QueueEntry| same_client(job, other) && same_vm(job, other);
        if let Some(other) = standing.running.iter().find(on_it) {
            let message = format!("job {} ({}) works on the same VM", other.id, other.subject);
            return Some(Problem::new("queue.vm_busy", message).about(other.id.to_string()));
        }
        let recovery = standing.recoveries.iter().find(on_it)?;
        let message = format!("job {} cleans up behind another job on the same VM first", recovery.id);
        Some(Problem::new("queue.vm_busy", message).about(recovery.id.to_string()))
    }

    /// What a running job must wait for before it works at these places.
    pub(crate) fn place_busy(&self, standing: &Standing, job: &QueueEntry, places: &Places) -> Option<Problem> {
        let client = job.client?;
        let limits = standing.limits.get(&client).copied().unwrap_or_default();
        let others = || standing.running.iter().filter(|other| other.id != job.id && other.client == Some(client));
        if let (Some(host), Some(limit)) = (&places.host, limits.jobs_per_host) {
            let count = others().filter(|other| other.host.as_ref() == Some(host)).count();
            if count >= limit as usize {
                let message = format!("{count} jobs work with VMs of host {host}, no more than {limit} may at once");
                return Some(Problem::new("queue.host_busy", message).about(host.clone()));
            }
        }
        let limit = limits.jobs_per_sr?;
        places.srs.iter().find_map(|sr| {
            let count = others().filter(|other| other.srs.contains(sr)).count();
            let message = format!("{count} jobs work with disks on SR {sr}, no more than {limit} may at once");
            (count >= limit as usize).then(|| Problem::new("queue.sr_busy", message).about(sr.clone()))
        })
    }
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

/// Two prunes, verifications or copies that meet in a datastore: what one does, the other need not.
fn same_work_runs(standing: &Standing, job: &QueueEntry) -> Option<Problem> {
    let copies = job.kind == JobKind::CopyPoints;
    if !copies && Class::of(job.kind) != Class::Upkeep {
        return None;
    }
    let place = |job: &QueueEntry| if copies { job.target } else { job.datastore };
    let same = |other: &&QueueEntry| other.kind == job.kind && place(other) == place(job);
    let other = standing.running.iter().find(same)?;
    let message = format!("job {} does the same in the same datastore", other.id);
    Some(Problem::new("queue.datastore_busy", message).about(other.id.to_string()))
}

fn is_recovery(job: &QueueEntry) -> bool {
    Class::of(job.kind) == Class::Recovery
}

/// It must have its pool to itself, though it is no recovery.
fn wants_pool(job: &QueueEntry) -> bool {
    job.kind == JobKind::RestoreMetaData && job.vm_key.as_deref().is_some_and(|key| VmKey::parse(key) == VmKey::Pool)
}

fn is_short(job: &QueueEntry) -> bool {
    Class::of(job.kind) == Class::Short
}

fn is_long(job: &QueueEntry) -> bool {
    matches!(Class::of(job.kind), Class::Data | Class::Upkeep)
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
    /// No VM but the whole pool: its database is replaced.
    Pool,
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
            JobSpec::RestoreMetaData { dry_run: false, .. } => Some(Self::Pool),
            _ => None,
        }
    }

    /// As it is stored with the job.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Uuid(uuid) => format!("uuid:{uuid}"),
            Self::Name(name) => format!("name:{name}"),
            Self::New(name) => format!("new:{name}"),
            Self::Pool => WHOLE_POOL.to_owned(),
        }
    }

    fn parse(text: &str) -> Self {
        if text == WHOLE_POOL {
            return Self::Pool;
        }
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
            (Self::Uuid(_), Self::New(_)) | (Self::New(_), Self::Uuid(_)) | (Self::Pool, _) | (_, Self::Pool) => false,
        }
    }
}

#[cfg(test)]
mod tests;
