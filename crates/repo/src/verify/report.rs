use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::SnapshotId;

/// What a verification has found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Snapshot files whose directories were read: points of ours, and what somebody made with restic.
    pub points: u64,
    /// Packs that index files name.
    pub packs_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
    /// Packs that were read whole.
    pub packs_checked: u64,
    /// Bytes of packs that were read.
    pub bytes_read: u64,
    /// What is damaged or missing. Long lists are cut: see [`more_damaged`](Self::more_damaged).
    pub damaged: Vec<DamagedFile>,
    /// Damaged packs that the list has no room for. The points that they touch are named with the last pack in it.
    pub more_damaged: u64,
    /// Files of which it could not be said whether they are damaged, and why.
    pub undecided: Vec<UndecidedFile>,
    /// Chunks in damaged packs of which a good copy lies elsewhere. Nothing is lost with them; a prune removes the bad copy.
    pub healed_chunks: u64,
    /// Packs that were recorded as damaged, and now are good again or gone.
    pub cleared_packs: u64,
    /// Packs that no index file names: what running backups have just stored, or what one left that was killed.
    pub unindexed_packs: u64,
    /// Their bytes.
    pub unindexed_bytes: u64,
    /// Packs that have never been read whole.
    pub never_verified_packs: u64,
    /// When that pack was read whole that was so longest ago; nothing if there are some that never were.
    pub oldest_verified: Option<Timestamp>,
}

/// Kinds of files of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The repository's config.
    Config,
    /// A password.
    Key,
    /// Where chunks lie.
    Index,
    /// A restore point.
    Snapshot,
    /// Chunks.
    Pack,
    /// What only we write, below `xenkeep/`: what is marked, damaged, verified, protected.
    Ours,
    /// Not a file: chunks that points need, and no index file names.
    Chunks,
}

/// A file that is not what was written, or not there, or that lacks something.
#[derive(Clone, Debug)]
pub struct DamagedFile {
    /// Its path within the repository.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// What is wrong with it.
    pub why: String,
    /// Chunks and directories in it that cannot be read.
    pub chunks: u64,
    /// Those of them of which there is no other, good copy.
    pub lost_chunks: u64,
    /// The points that need one of those.
    pub points: Vec<AffectedPoint>,
    /// What can be done.
    pub remedy: String,
}

/// A file that could not be judged.
#[derive(Clone, Debug)]
pub struct UndecidedFile {
    /// Its path within the repository.
    pub name: String,
    /// What stood in the way.
    pub why: String,
}

/// A point that does not restore whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedPoint {
    /// Its id.
    pub id: SnapshotId,
    /// When what it holds was frozen.
    pub time: Timestamp,
    /// Its directory, which names client and VM.
    pub root: String,
    /// Disks of which something is lost.
    pub disks: Vec<String>,
    /// Files beside the disks of which something is lost.
    pub files: Vec<String>,
    /// A directory above all disks and files is lost: none of them can be found without it.
    pub whole: bool,
}

impl VerifyReport {
    /// Was everything that was looked at as it should be?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.undecided.is_empty()
    }

    /// All points that do not restore whole, oldest first, each once.
    #[must_use]
    pub fn affected_points(&self) -> Vec<AffectedPoint> {
        let mut all: BTreeMap<(Timestamp, SnapshotId), AffectedPoint> = BTreeMap::new();
        for point in self.damaged.iter().flat_map(|file| &file.points) {
            all.entry((point.time, point.id)).and_modify(|known| known.merge(point)).or_insert_with(|| point.clone());
        }
        all.into_values().collect()
    }
}

impl AffectedPoint {
    pub(super) fn merge(&mut self, other: &AffectedPoint) {
        for (ours, theirs) in [(&mut self.disks, &other.disks), (&mut self.files, &other.files)] {
            ours.extend_from_slice(theirs);
            ours.sort();
            ours.dedup();
        }
        self.whole |= other.whole;
    }
}
