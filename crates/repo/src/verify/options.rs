use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How closely a repository is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Everything that points refer to is there and has its size; all small files and all directories can be read.
    #[default]
    Quick,
    /// Besides, packs are read whole: every byte is compared with its hash.
    Full,
}

/// What is verified.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// How closely.
    pub depth: Depth,
    /// Of a full verification: only so much of the repository's bytes (0 to 1), namely what was read longest ago.
    pub share: Option<f64>,
    /// Of a full verification: only packs that have not been read for so long.
    pub older_than: Option<Duration>,
    /// Reads no more than this of packs in a second.
    pub bytes_per_second: Option<u64>,
    /// Numbers for whoever wants to watch.
    pub progress: Arc<VerifyProgress>,
}

/// Numbers of a running verification that anyone may sample at any time.
#[derive(Debug, Default)]
pub struct VerifyProgress {
    packs_total: AtomicU64,
    packs_done: AtomicU64,
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    points_total: AtomicU64,
    points_done: AtomicU64,
    damaged_packs: AtomicU64,
}

impl VerifyProgress {
    /// Packs that will be read; known soon after the beginning.
    pub fn packs_total(&self) -> u64 {
        self.packs_total.load(Ordering::Relaxed)
    }

    /// Packs that have been read.
    pub fn packs_done(&self) -> u64 {
        self.packs_done.load(Ordering::Relaxed)
    }

    /// Bytes of the packs that will be read.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }

    /// Bytes of packs that have been read.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }

    /// Points whose directories will be read, after the packs.
    pub fn points_total(&self) -> u64 {
        self.points_total.load(Ordering::Relaxed)
    }

    /// Points whose directories have been read.
    pub fn points_done(&self) -> u64 {
        self.points_done.load(Ordering::Relaxed)
    }

    /// Packs that were found damaged until now.
    pub fn damaged_packs(&self) -> u64 {
        self.damaged_packs.load(Ordering::Relaxed)
    }

    pub(super) fn expect_packs(&self, packs: u64, bytes: u64) {
        self.packs_total.fetch_add(packs, Ordering::Relaxed);
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn pack_done(&self, bytes: u64) {
        self.packs_done.fetch_add(1, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn expect_points(&self, points: u64) {
        self.points_total.store(points, Ordering::Relaxed);
        self.points_done.store(0, Ordering::Relaxed);
    }

    pub(super) fn point_done(&self) {
        self.points_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn pack_damaged(&self) {
        self.damaged_packs.fetch_add(1, Ordering::Relaxed);
    }
}
