//! What a job made outside, and is to be undone if the job does not end well.
//!
//! An entry is written *before* the thing is made, with what is needed to find it, and cleared after the thing is gone or
//! rightfully stays. So after a death at any instant there is an entry for whatever may be left, and maybe for something
//! that never came to be: undoing looks before it acts, and undoing twice is harmless.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use xenkeep_api::{Directive, JobId, JournalEntry, Places, Problem, Progress};

use crate::{
    LeaseError, Leases,
    context::Stop,
    fence::{Fence, Moment},
};

/// How long a server that does not answer is asked again before the job gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something outside. Kept as JSON by the server; old entries must stay readable, so fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "kebab-case")]
pub(crate) enum Made {
    /// A snapshot of a VM, for a backup.
    Snapshot(SnapshotMade),
    /// A VM that was shut down for its snapshot, and is started again; or that is suspended for its checkpoint.
    Stopped(StoppedMade),
    /// A guest that was asked to freeze its file systems.
    Frozen(FrozenMade),
    /// A VM that is being imported.
    Import(ImportMade),
    /// A task that goes with a stream.
    Task(TaskMade),
    /// A VM that takes the place of another.
    Swap(Box<SwapMade>),
}

/// A snapshot that was or will be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotMade {
    /// The job that makes it: its tag.
    pub(crate) job: JobId,
    /// uuid of the VM.
    pub(crate) vm_uuid: String,
    /// name-label of the snapshot: has the job's id in it, so nothing else is called so.
    pub(crate) name: String,
    /// uuids of its disks, as soon as they are known.
    #[serde(default)]
    pub(crate) vdis: Vec<String>,
    /// Tasks of the pool that work on it and that do not bear the job's label.
    #[serde(default)]
    pub(crate) tasks: Vec<String>,
}

/// A task that was or will be made. It is known by its label, which begins with the job's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskMade {
    /// The job that makes it.
    pub(crate) job: JobId,
}

/// A VM that was or will be shut down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoppedMade {
    /// The job that does it.
    pub(crate) job: JobId,
    /// uuid of the VM.
    pub(crate) vm_uuid: String,
    /// Its name-label, for people.
    pub(crate) vm_name: String,
    /// The task of the pool that shuts it down, or starts it, as soon as it is known.
    #[serde(default)]
    pub(crate) task: Option<String>,
    /// How long the guest may take.
    pub(crate) wait_seconds: u32,
    /// The pool suspends it for a checkpoint and resumes it: if it does not, we do.
    #[serde(default)]
    pub(crate) suspended: bool,
}

/// A guest that was or will be asked to freeze its file systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FrozenMade {
    /// The job that asks.
    pub(crate) job: JobId,
    /// uuid of the VM.
    pub(crate) vm_uuid: String,
    /// Its name-label, for people.
    pub(crate) vm_name: String,
    /// What tells this request from all others.
    pub(crate) nonce: String,
    /// The guest thaws by itself when so much time is up.
    pub(crate) limit_seconds: u32,
}

/// An import that was or will be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImportMade {
    /// The job: its tag stands in the `other_config` of VM and disks from their first moment on.
    pub(crate) job: JobId,
    /// The task of the import, as soon as it is known.
    #[serde(default)]
    pub(crate) task: Option<String>,
    /// uuids of the new disks, as soon as they are known.
    #[serde(default)]
    pub(crate) vdis: Vec<String>,
}

/// A swap: `working` (imported beside) takes the identity of `old`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SwapMade {
    /// The import that made `working`.
    pub(crate) import: ImportMade,
    /// uuid of the VM that is replaced, and of the one that replaces it.
    pub(crate) vm_uuid: String,
    /// Its name-label, for people.
    pub(crate) vm_name: String,
    /// uuid of the imported VM.
    pub(crate) working_uuid: String,
    /// The old VM's metadata as an archive for `/import_metadata`, base64: what brings it back.
    pub(crate) old_metadata: String,
    /// Disks of the old VM, by position.
    pub(crate) old_disks: Vec<SwapDisk>,
    /// Disks of the new one, by position.
    pub(crate) new_disks: Vec<SwapDisk>,
    /// uuids of those old disks that go once the new VM stands.
    pub(crate) doomed: Vec<String>,
    /// MACs that the new VM must have, by device.
    pub(crate) macs: Vec<String>,
    /// The old VM's count of restores: that of the new one is higher. It tells the two apart where neither has disks.
    #[serde(default)]
    pub(crate) old_version: Option<i64>,
    /// The task of the metadata import that is under way.
    #[serde(default)]
    pub(crate) task: Option<String>,
}

/// A disk in a swap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SwapDisk {
    /// `userdevice`.
    pub(crate) position: String,
    /// uuid of the VDI.
    pub(crate) vdi_uuid: String,
    /// Its name-label.
    pub(crate) name: String,
}

/// Writes a job's journal.
#[derive(Clone)]
pub(crate) struct Journal {
    leases: Arc<dyn Leases>,
    job: JobId,
    fence: i64,
    /// Cancelled when the lease turns out to be lost.
    abandon: CancellationToken,
    /// How long the lease is good by our own clock.
    lease: Arc<Fence>,
}

impl Journal {
    pub(crate) fn new(
        leases: Arc<dyn Leases>,
        job: JobId,
        fence: i64,
        abandon: CancellationToken,
        lease: Arc<Fence>,
    ) -> Self {
        Self { leases, job, fence, abandon, lease }
    }

    /// Whether the job is still ours, asked of the server at this moment: the last question before a point is listed. An
    /// answer that comes late is no answer.
    pub(crate) async fn still_ours(&self, progress: &Progress) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(200);
        while self.lease.holds() && tokio::time::Instant::now() < deadline {
            let asked = Moment::now();
            match self.leases.renew(self.job, self.fence, progress, Vec::new()).await {
                Ok(Directive::Continue | Directive::Cancel) => {
                    self.lease.renewed(asked);
                    return self.lease.holds();
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(job = %self.job, error = &error as &dyn std::error::Error, "lease not confirmed yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Ok(Directive::Abandon) | Err(_) => {
                    self.abandon.cancel();
                    return false;
                }
            }
        }
        false
    }

    /// Writes a new entry; it is durable when this returns.
    pub(crate) async fn write(&self, made: &Made) -> Result<Uuid, Stop> {
        let id = Uuid::new_v4();
        self.rewrite(id, made).await?;
        Ok(id)
    }

    /// Writes an entry over an older one.
    pub(crate) async fn rewrite(&self, id: Uuid, made: &Made) -> Result<(), Stop> {
        let what = serde_json::to_value(made).map_err(|error| Problem::internal(&error))?;
        let entry = JournalEntry { id, what };
        self.patiently(|| self.leases.journal_write(self.job, self.fence, &entry)).await
    }

    /// Forgets an entry: what it names is gone, or rightfully stays.
    pub(crate) async fn clear(&self, id: Uuid) -> Result<(), Stop> {
        self.patiently(|| self.leases.journal_clear(self.job, self.fence, id)).await
    }

    /// Says where the job is about to work; hears what it must wait for first.
    pub(crate) async fn occupy(&self, places: &Places) -> Result<Option<Problem>, Stop> {
        self.patiently(|| self.leases.occupy(self.job, self.fence, places)).await
    }

    async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, LeaseError>>,
    {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(200);
        loop {
            match call().await {
                Ok(done) => return Ok(done),
                Err(error) if error.is_transient() => {
                    if tokio::time::Instant::now() + pause > deadline {
                        return Err(Problem::new("server.unreachable", "the server does not take the job's journal")
                            .hint("is the server running, and is there room on its disk?")
                            .into());
                    }
                    tracing::warn!(job = %self.job, error = &error as &dyn std::error::Error, "journal not written yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(_) => {
                    // The job belongs to someone else now: nothing more may be touched, not even to clean up. Whoever
                    // runs the job drops it at the token.
                    self.abandon.cancel();
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
