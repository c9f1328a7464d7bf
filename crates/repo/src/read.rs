use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use xenkeep_disk::{Blocks, DiskRead};

use crate::{PointMeta, Result};

/// A restore point, opened for reading.
pub struct PointReader {}

impl PointReader {
    /// What the point's snapshot file says.
    pub fn meta(&self) -> &PointMeta {
        unimplemented!()
    }

    /// A file beside the disks, such as `point.json`. At most 64 MiB are read.
    pub async fn file(&self, _name: &str) -> Result<Bytes> {
        unimplemented!()
    }

    /// Names of the disks, sorted.
    pub async fn disks(&self) -> Result<Vec<String>> {
        unimplemented!()
    }

    /// A disk.
    pub async fn disk(&self, _name: &str) -> Result<Arc<DiskReader>> {
        unimplemented!()
    }
}

/// A disk of a restore point.
pub struct DiskReader {}

#[async_trait]
impl DiskRead for DiskReader {
    fn size(&self) -> u64 {
        unimplemented!()
    }

    async fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> std::result::Result<(), xenkeep_disk::Error> {
        unimplemented!()
    }

    fn blocks(self: Arc<Self>) -> Blocks {
        unimplemented!()
    }
}
