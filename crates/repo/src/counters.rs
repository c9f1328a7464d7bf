use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of a running backup that anyone may sample at any time.
#[derive(Debug, Default)]
pub struct Counters {
    read_bytes: AtomicU64,
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
}

impl Counters {
    /// Bytes of disks and files that were taken in: data, zeros and unchanged runs alike.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of those that the repository did not hold yet, before compression.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes.load(Ordering::Relaxed)
    }

    /// What they take in the repository, compressed and sealed (without pack headers and index).
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_stored(&self, raw_bytes: u64, sealed_bytes: u64) {
        self.new_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
        self.stored_bytes.fetch_add(sealed_bytes, Ordering::Relaxed);
    }
}
