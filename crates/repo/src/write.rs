use std::sync::Arc;

use bytes::Bytes;
use xenkeep_disk::{Block, Blocks};

use crate::{DiskReader, Meta, Result, SnapshotId};

/// Writes one restore point. Dropping it leaves nothing that is listed.
pub struct PointWriter {}

impl PointWriter {
    /// Stores a disk of `size_bytes` from its blocks. Several disks may be stored at once.
    pub async fn disk(&self, _name: &str, _size_bytes: u64, _blocks: Blocks) -> Result<DiskTree> {
        unimplemented!()
    }

    /// Starts a disk whose blocks are pushed. Several may be open at once.
    pub fn disk_sink(&self, _name: &str, _size_bytes: u64) -> Result<DiskSink> {
        unimplemented!()
    }

    /// As [`disk_sink`](Self::disk_sink); [`xenkeep_disk::Data::Unchanged`] means "as in `base`", a disk of a point in the same repository.
    pub async fn disk_sink_over(&self, _name: &str, _size_bytes: u64, _base: Arc<DiskReader>) -> Result<DiskSink> {
        unimplemented!()
    }

    /// Stores a small file beside the disks.
    pub async fn file(&self, _name: &str, _content: Bytes) -> Result<()> {
        unimplemented!()
    }

    /// Makes all of it durable and only then lists it as a point.
    pub async fn commit(self, _meta: Meta) -> Result<SnapshotId> {
        unimplemented!()
    }

    /// Gives the point up. Packs that were written stay, unreferenced, until a prune (or a later backup of the same data).
    pub async fn abort(self) {
        unimplemented!()
    }
}

/// Takes the blocks of one disk.
pub struct DiskSink {}

impl DiskSink {
    /// Takes the next block, which must start where the last one ended. Waits while too many bytes are in flight.
    pub async fn push(&mut self, _block: Block) -> Result<()> {
        unimplemented!()
    }

    /// Demands that the disk is complete, and waits until all of its chunks have been taken in.
    pub async fn finish(self) -> Result<DiskTree> {
        unimplemented!()
    }
}

/// A disk that was stored in a point not yet committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskTree {
    /// Its name: the position.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
}
