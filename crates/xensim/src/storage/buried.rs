//! Removed snapshots that are kept for a look.
//!
//! A demonstration compares a restored disk with the snapshot that was backed up, long after the
//! snapshot is gone. So it may be buried instead of removed: the pool no longer knows it, and it takes
//! no room on its storage repository.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::space::Space;
use super::{Error, Reader, Storage, read, write};

/// What a removed disk was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buried {
    /// Its uuid.
    pub uuid: String,
    /// The uuid of the disk that it was a snapshot of.
    pub snapshot_of: String,
    /// Its `name_label`.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// `name_label` of the virtual machine whose disk that was.
    pub vm: String,
}

impl Storage {
    /// Removes a disk from the pool, but keeps what is on it for [`Storage::reader_of_any`].
    pub fn bury(&self, what: Buried) -> Result<(), Error> {
        let reader = self.reader(&what.uuid)?;
        let space = Arc::clone(&self.disk(&what.uuid)?.space);
        self.remove(&what.uuid)?;
        write(&self.0.buried).push((what, reader));
        self.count_visible(&space);
        Ok(())
    }

    /// The disks that were buried, in that order.
    pub fn buried(&self) -> Vec<Buried> {
        read(&self.0.buried).iter().map(|(what, _)| what.clone()).collect()
    }

    /// A view of a disk, or of one that was buried.
    pub fn reader_of_any(&self, vdi: &str) -> Result<Reader, Error> {
        self.reader(vdi).or_else(|error| {
            let buried = read(&self.0.buried);
            let found = buried.iter().find(|(what, _)| what.uuid == vdi);
            found.map(|(_, reader)| reader.clone()).ok_or(error)
        })
    }

    /// Counts anew what a storage repository holds beside buried disks.
    pub(super) fn count_visible(&self, space: &Arc<Space>) {
        if read(&self.0.buried).is_empty() {
            return;
        }
        let mut visible = HashSet::new();
        for disk in read(&self.0.disks).values().filter(|disk| Arc::ptr_eq(&disk.space, space)) {
            visible.extend(disk.lock().map.clusters().map(|cluster| cluster.file_offset()));
        }
        space.count_visible(visible.len() as u64);
    }
}
