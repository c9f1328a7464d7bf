//! The room of one storage repository: a sparse file cut into clusters.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;

/// Disks are mapped and shared in units of this many bytes.
pub const CLUSTER_BYTES: u64 = 64 << 10;

/// How much a storage repository holds, and how it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of disk content that fit.
    pub bytes: u64,
    /// Thick storage (like LVM) takes the full size of each disk and each snapshot at once;
    /// thin storage (like ext or NFS) only what was written.
    pub thick: bool,
}

/// One storage repository's file and what is free in it.
#[derive(Debug)]
pub(super) struct Space {
    name: String,
    file: File,
    capacity: Capacity,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Clusters below this one have been handed out at some time.
    next: u64,
    /// Clusters that came back; the lowest goes first, which keeps disks in long runs.
    free: BinaryHeap<Reverse<u64>>,
    used: u64,
    /// Of those, how many only removed disks hold that are kept for a look.
    hidden: u64,
    reserved_bytes: u64,
}

/// A cluster in use. Whoever drops the last handle gives it back.
#[derive(Debug)]
pub(super) struct Cluster {
    index: u64,
    space: Arc<Space>,
}

/// Bytes promised to a disk on thick storage.
#[derive(Debug)]
pub(super) struct Reservation {
    bytes: u64,
    space: Arc<Space>,
}

impl Space {
    pub(super) fn create(dir: &Path, name: &str, capacity: Capacity) -> Result<Arc<Self>, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.join(format!("{name}.sr")))?;
        Ok(Arc::new(Self { name: name.to_owned(), file, capacity, state: Mutex::default() }))
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.capacity
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes taken, in the way this kind of storage counts them.
    pub(super) fn used_bytes(&self) -> u64 {
        let state = self.lock();
        if self.capacity.thick { state.reserved_bytes } else { (state.used - state.hidden) * CLUSTER_BYTES }
    }

    /// Promises `bytes` to a disk; on thin storage nothing is taken yet.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Error> {
        let mut state = self.lock();
        let reserved_bytes = state.reserved_bytes.saturating_add(bytes);
        if self.capacity.thick && reserved_bytes > self.capacity.bytes {
            return Err(self.full());
        }
        state.reserved_bytes = reserved_bytes;
        Ok(Reservation { bytes, space: Arc::clone(self) })
    }

    /// Takes `count` clusters, all or none.
    pub(super) fn take(self: &Arc<Self>, count: u64) -> Result<Vec<Arc<Cluster>>, Error> {
        let mut state = self.lock();
        let used = state.used.saturating_add(count);
        let counted_bytes = used.saturating_sub(state.hidden).saturating_mul(CLUSTER_BYTES);
        if !self.capacity.thick && counted_bytes > self.capacity.bytes {
            return Err(self.full());
        }
        state.used = used;
        let mut taken = Vec::new();
        for _ in 0..count {
            let index = match state.free.pop() {
                Some(Reverse(index)) => index,
                None => {
                    state.next += 1;
                    state.next - 1
                }
            };
            taken.push(Arc::new(Cluster { index, space: Arc::clone(self) }));
        }
        Ok(taken)
    }

    /// Says how many clusters the disks hold that are not removed; the others don't count.
    pub(super) fn count_visible(&self, visible: u64) {
        let mut state = self.lock();
        state.hidden = state.used.saturating_sub(visible);
    }

    fn give_back(&self, index: u64) {
        let mut state = self.lock();
        state.free.push(Reverse(index));
        state.used -= 1;
        state.hidden = state.hidden.min(state.used);
        if state.used == 0 {
            // Everything is free: let the file system have its blocks back. That this fails
            // only costs room on the machine that simulates.
            state.free.clear();
            state.next = 0;
            let _ = self.file.set_len(0);
        }
    }

    fn full(&self) -> Error {
        Error::Full { sr: self.name.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Where it lies in the file of its storage repository.
    pub(super) fn file_offset(&self) -> u64 {
        self.index * CLUSTER_BYTES
    }

    /// Reads part of it. Beyond the end of the file there are zeros.
    pub(super) fn read(&self, within: u64, buf: &mut [u8]) -> Result<(), Error> {
        read_zero_filled(&self.space.file, self.file_offset() + within, buf)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.space.give_back(self.index);
    }
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over what another one holds in the same space.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.lock().reserved_bytes -= self.bytes;
    }
}

/// Like `read_exact_at`, but a file that ends early goes on with zeros.
pub(super) fn read_zero_filled(file: &File, mut offset: u64, mut buf: &mut [u8]) -> Result<(), Error> {
    while !buf.is_empty() {
        match file.read_at(buf, offset) {
            Ok(0) => {
                buf.fill(0);
                return Ok(());
            }
            Ok(count) => {
                buf = &mut buf[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
