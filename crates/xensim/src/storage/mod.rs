//! Disks with real bytes: sparse, with snapshots and clones that cost nothing until written.
//!
//! Each storage repository is one sparse file cut into clusters of 64 KiB. A disk is a map from
//! its clusters to those of the file. A snapshot copies the map; from then on both share the
//! clusters, and whoever writes first takes a fresh one. A cluster that nobody maps any more
//! goes back to its repository. So any number of readers see what was there when they came,
//! whatever is written beside them, and the space taken is exact.
//!
//! Disks are named by the uuid of their VDI, repositories by the uuid of their SR. Everything
//! here blocks, though only reads, writes and copies take time.

mod buried;
mod error;
mod image;
mod map;
mod reader;
mod space;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use buried::Buried;
pub use error::Error;
pub use image::{Image, ImageFormat};
pub use reader::Reader;
pub use space::{CLUSTER_BYTES, Capacity};

use map::Map;
use space::{Reservation, Space};

/// All disks of a pool. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Storage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    spaces: RwLock<HashMap<String, Arc<Space>>>,
    disks: RwLock<HashMap<String, Arc<Disk>>>,
    buried: RwLock<Vec<(Buried, Reader)>>,
}

#[derive(Debug)]
struct Disk {
    space: Arc<Space>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    map: Map,
    size_bytes: u64,
    reserved: Reservation,
}

/// How full a storage repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that fit.
    pub capacity_bytes: u64,
    /// Bytes taken.
    pub used_bytes: u64,
    /// Sum of the sizes of all disks.
    pub virtual_bytes: u64,
}

impl Storage {
    /// Makes an empty storage in `dir`, which is created when it is missing.
    pub fn new(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            spaces: RwLock::default(),
            disks: RwLock::default(),
            buried: RwLock::default(),
        })))
    }

    /// Adds a storage repository.
    pub fn add_sr(&self, sr: &str, capacity: Capacity) -> Result<(), Error> {
        let space = Space::create(&self.0.dir, sr, capacity)?;
        write(&self.0.spaces).insert(sr.to_owned(), space);
        Ok(())
    }

    /// Makes an empty disk.
    pub fn create(&self, sr: &str, vdi: &str, size_bytes: u64) -> Result<(), Error> {
        let space = self.space(sr)?;
        let reserved = space.reserve(size_bytes)?;
        self.add(vdi, space, State { map: Map::default(), size_bytes, reserved })
    }

    /// Makes `to` a copy of what `from` holds now, on the same storage repository.
    ///
    /// Serves snapshots and clones alike.
    pub fn snapshot(&self, from: &str, to: &str) -> Result<(), Error> {
        let disk = self.disk(from)?;
        let (map, size_bytes) = {
            let state = disk.lock();
            (state.map.clone(), state.size_bytes)
        };
        let reserved = disk.space.reserve(size_bytes)?;
        self.add(to, Arc::clone(&disk.space), State { map, size_bytes, reserved })
    }

    /// Makes `to` a full copy of what `from` holds now, on storage repository `sr`.
    pub fn copy(&self, from: &str, to: &str, sr: &str) -> Result<(), Error> {
        let reader = self.reader(from)?;
        self.create(sr, to, reader.size_bytes())?;
        self.copy_into(&reader, to).inspect_err(|_| {
            // A copy that did not fit must not stay behind half done.
            let _ = self.remove(to);
        })
    }

    fn copy_into(&self, reader: &Reader, to: &str) -> Result<(), Error> {
        let mut buf = vec![0; 1 << 20];
        let mut position = 0;
        while let Some(run) = reader.next_data(position, buf.len() as u64) {
            let buf = &mut buf[..(run.end - run.start) as usize];
            reader.read(run.start, buf)?;
            self.write(to, run.start, buf)?;
            position = run.end;
        }
        Ok(())
    }

    /// Makes a disk bigger.
    pub fn resize(&self, vdi: &str, size_bytes: u64) -> Result<(), Error> {
        let disk = self.disk(vdi)?;
        let mut state = disk.lock();
        if size_bytes < state.size_bytes {
            return Err(Error::Shrink { size: state.size_bytes, wanted: size_bytes });
        }
        let more = disk.space.reserve(size_bytes - state.reserved.bytes())?;
        state.reserved.join(more);
        state.size_bytes = size_bytes;
        Ok(())
    }

    /// Removes a disk; what it shares with no other comes free at once, but for readers that
    /// still look at it.
    pub fn remove(&self, vdi: &str) -> Result<(), Error> {
        let disk = write(&self.0.disks).remove(vdi);
        disk.map(drop).ok_or_else(|| Error::NoSuchDisk(vdi.to_owned()))
    }

    /// Whether there is such a disk.
    pub fn exists(&self, vdi: &str) -> bool {
        read(&self.0.disks).contains_key(vdi)
    }

    /// The size that a guest sees.
    pub fn size_bytes(&self, vdi: &str) -> Result<u64, Error> {
        Ok(self.disk(vdi)?.lock().size_bytes)
    }

    /// Bytes that hold data of this disk, whether shared or not.
    pub fn utilisation_bytes(&self, vdi: &str) -> Result<u64, Error> {
        let disk = self.disk(vdi)?;
        if disk.space.capacity().thick {
            return Ok(disk.lock().size_bytes);
        }
        let present = disk.lock().map.present();
        Ok(present * CLUSTER_BYTES)
    }

    /// How full a storage repository is.
    pub fn usage(&self, sr: &str) -> Result<Usage, Error> {
        let space = self.space(sr)?;
        self.count_visible(&space);
        let virtual_bytes = read(&self.0.disks)
            .values()
            .filter(|disk| Arc::ptr_eq(&disk.space, &space))
            .map(|disk| disk.lock().size_bytes)
            .sum();
        Ok(Usage { capacity_bytes: space.capacity().bytes, used_bytes: space.used_bytes(), virtual_bytes })
    }

    /// A view of the disk as it is now, which later writes don't touch.
    pub fn reader(&self, vdi: &str) -> Result<Reader, Error> {
        let disk = self.disk(vdi)?;
        let state = disk.lock();
        Ok(Reader::new(state.map.clone(), Arc::clone(&disk.space), state.size_bytes))
    }

    /// Writes at any offset within the disk.
    pub fn write(&self, vdi: &str, offset: u64, data: &[u8]) -> Result<(), Error> {
        let disk = self.disk(vdi)?;
        let mut state = disk.lock();
        within(offset, data.len() as u64, state.size_bytes)?;
        state.map.write(&disk.space, offset, data)
    }

    /// Makes a range read as zeros again, and frees what it took.
    pub fn zero(&self, vdi: &str, offset: u64, len: u64) -> Result<(), Error> {
        let disk = self.disk(vdi)?;
        let mut state = disk.lock();
        within(offset, len, state.size_bytes)?;
        state.map.zero(&disk.space, offset, len)
    }

    fn add(&self, vdi: &str, space: Arc<Space>, state: State) -> Result<(), Error> {
        let mut disks = write(&self.0.disks);
        if disks.contains_key(vdi) {
            return Err(Error::DiskExists(vdi.to_owned()));
        }
        disks.insert(vdi.to_owned(), Arc::new(Disk { space, state: Mutex::new(state) }));
        Ok(())
    }

    fn space(&self, sr: &str) -> Result<Arc<Space>, Error> {
        read(&self.0.spaces).get(sr).cloned().ok_or_else(|| Error::NoSuchSr(sr.to_owned()))
    }

    fn disk(&self, vdi: &str) -> Result<Arc<Disk>, Error> {
        read(&self.0.disks).get(vdi).cloned().ok_or_else(|| Error::NoSuchDisk(vdi.to_owned()))
    }
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(offset: u64, len: u64, size: u64) -> Result<(), Error> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfRange { offset, len, size }),
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
