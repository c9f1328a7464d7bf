use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How to prune.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// How long what is marked stays before it is deleted.
    pub grace: Duration,
    /// How much of the repository, in percent, may be chunks that no point needs, because they share a pack with others.
    pub max_unused_percent: f64,
    /// At most so many bytes are read to take needed chunks out of packs that are hardly needed.
    pub max_repack_bytes: Option<u64>,
    /// How far it has come, for whoever wants to watch.
    pub progress: Arc<PruneProgress>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        PruneOptions {
            dry_run: false,
            grace: Duration::from_secs(60 * 60),
            max_unused_percent: 5.0,
            max_repack_bytes: None,
            progress: Arc::default(),
        }
    }
}

/// What a prune is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneStep {
    /// It opens the repository and looks who else is there.
    #[default]
    Opening,
    /// It reads the directories of all points: counted are points.
    Walking,
    /// It reads what the index says of packs: counted are index files.
    Counting,
    /// It deletes what was marked: counted are packs.
    Sweeping,
    /// It takes needed chunks out of packs that are hardly needed: counted are bytes.
    Repacking,
    /// It marks what is to be deleted.
    Marking,
}

const STEPS: [PruneStep; 6] = [
    PruneStep::Opening,
    PruneStep::Walking,
    PruneStep::Counting,
    PruneStep::Sweeping,
    PruneStep::Repacking,
    PruneStep::Marking,
];

/// How far a prune has come.
#[derive(Debug, Default)]
pub struct PruneProgress {
    step: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl PruneProgress {
    /// What it is doing.
    #[must_use]
    pub fn step(&self) -> PruneStep {
        STEPS[usize::from(self.step.load(Ordering::Relaxed)).min(STEPS.len() - 1)]
    }

    /// How much of this step is done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How much this step has to do; zero if that is not known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, step: PruneStep, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub(super) fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }
}

/// A number of packs, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackTotals {
    /// How many.
    pub packs: u64,
    /// Size of their files together.
    pub bytes: u64,
}

impl PackTotals {
    pub(super) fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }
}

/// What a prune has done, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PruneReport {
    /// Points that the repository holds, those of others included.
    pub points: u64,
    /// Bytes in packs that points need.
    pub used_bytes: u64,
    /// Bytes in packs that no point needs. What was marked before this run does not count.
    pub unused_bytes: u64,
    /// What this run finds to be deletable: packs of which nothing is needed, and those that are repacked.
    pub to_delete: PackTotals,
    /// Of these, packs out of which the needed part is taken first.
    pub repacked: PackTotals,
    /// Bytes of the needed part, which are written again.
    pub rewritten_bytes: u64,
    /// What this run has marked.
    pub marked: PackTotals,
    /// What this run has deleted: packs that this run or an earlier one has marked.
    pub deleted: PackTotals,
    /// Packs that were marked, and are needed after all by a point that came in meanwhile.
    pub rescued_packs: u64,
    /// What is marked and not deleted yet, and what that waits for.
    pub waiting: Vec<Waiting>,
    /// Why packs can be deleted or are repacked, or why they stay though not all of them is needed.
    pub why: Vec<PackClass>,
}

/// Marked packs that cannot be deleted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Number and size of the packs.
    pub packs: PackTotals,
    /// What they wait for.
    pub reason: WaitingReason,
}

/// What marked packs wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingReason {
    /// The grace time is not over.
    Grace {
        /// When it will be.
        until: Timestamp,
    },
    /// A backup or restore that began before they were marked still runs.
    Session {
        /// Who that is.
        who: String,
        /// When it began.
        since: Timestamp,
    },
    /// Somebody works in the repository who does not know what is marked, such as a restic.
    ForeignLock {
        /// Who that is.
        who: String,
    },
}

/// Packs that are treated alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackClass {
    /// What is said of them.
    pub why: Why,
    /// Number and size of the packs.
    pub packs: PackTotals,
    /// Of their bytes, those that no point needs.
    pub unused_bytes: u64,
}

/// Why a pack can go, or stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No point refers to any of it. It is deleted.
    NotNeeded,
    /// No index file names it: left behind by a backup that was interrupted. It is deleted.
    NotIndexed,
    /// All that points need of it lies in other packs, too, or is damaged here and whole there. It is deleted.
    Duplicate,
    /// It is damaged, and all that points need of it can be read, here or elsewhere. That is written again, and it is deleted.
    Mended,
    /// Too much of it is not needed. The rest is written again, and it is deleted.
    PartlyNeeded,
    /// It is one of many small ones. They are written again as few large ones.
    Small,
    /// A part of it is not needed, but less than is worth the work. It stays.
    WorthKeeping,
    /// It would be repacked, but no more bytes may be read this time. It stays.
    RepackLimit,
    /// It would be repacked, but cannot be read whole: verify the repository. It stays.
    Damaged,
}

impl Why {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Why::NotNeeded => "no point refers to any of it",
            Why::NotIndexed => "no index file names it: an interrupted backup has left it behind",
            Why::Duplicate => "all that is needed of it is stored elsewhere, too",
            Why::Mended => "it is damaged; what is needed of it can be read, here or elsewhere, and is stored again",
            Why::PartlyNeeded => "much of it is not needed; the rest is stored again",
            Why::Small => "it is one of many small packs, which are put together",
            Why::WorthKeeping => "a part of it is not needed, but too little to be worth the work; it stays",
            Why::RepackLimit => "a part of it is not needed, but enough is repacked this time; it stays",
            Why::Damaged => "it is damaged, and some of it is needed; it stays: verify the datastore",
        }
    }
}
