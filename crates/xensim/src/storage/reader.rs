//! A consistent view of a disk.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use xenkeep_disk::{Block, Blocks, DiskRead};

use super::map::Map;
use super::space::{CLUSTER_BYTES, Space};
use super::{Error, within};

/// Blocks are at most this long.
const BLOCK_BYTES: u64 = 1 << 20;

/// A disk as it was when the reader was made, whatever is written to it since.
#[derive(Debug, Clone)]
pub struct Reader(Arc<View>);

#[derive(Debug)]
struct View {
    map: Map,
    space: Arc<Space>,
    size_bytes: u64,
}

impl Reader {
    pub(super) fn new(map: Map, space: Arc<Space>, size_bytes: u64) -> Self {
        Self(Arc::new(View { map, space, size_bytes }))
    }

    /// The size of the disk.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// Fills `buf` from `offset` on; blocks.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        within(offset, buf.len() as u64, self.0.size_bytes)?;
        self.0.map.read(&self.0.space, offset, buf)
    }

    /// The next run that holds data, from `offset` on and not longer than `longest`.
    pub fn next_data(&self, offset: u64, longest: u64) -> Option<Range<u64>> {
        let size = self.0.size_bytes;
        let clusters = size.div_ceil(CLUSTER_BYTES);
        let first = self.0.map.next_present(offset / CLUSTER_BYTES, clusters)?;
        let start = offset.max(first * CLUSTER_BYTES);
        let limit = size.min(start.saturating_add(longest));
        let mut next = first + 1;
        while next * CLUSTER_BYTES < limit && self.0.map.get(next).is_some() {
            next += 1;
        }
        let end = limit.min(next * CLUSTER_BYTES);
        (start < end).then_some(start..end)
    }

    /// Whether nothing was ever written to the range.
    pub fn is_hole(&self, range: Range<u64>) -> bool {
        self.next_data(range.start, 1).is_none_or(|data| data.start >= range.end)
    }

    /// SHA-256 of the whole disk, holes as zeros; blocks.
    pub fn sha256(&self) -> Result<[u8; 32], Error> {
        let mut hash = Sha256::new();
        let mut buf = vec![0; BLOCK_BYTES as usize];
        let mut offset = 0;
        while offset < self.size_bytes() {
            let len = BLOCK_BYTES.min(self.size_bytes() - offset);
            let buf = &mut buf[..len as usize];
            self.read(offset, buf)?;
            hash.update(&*buf);
            offset += len;
        }
        Ok(hash.finalize().into())
    }

    /// The next block of the disk at `offset`; `None` behind the end. Blocks.
    ///
    /// Data come in pieces that start at multiples of 1 MiB, as the chunks of an XVA do.
    fn block_at(&self, offset: u64) -> Result<Option<Block>, Error> {
        let size = self.size_bytes();
        if offset >= size {
            return Ok(None);
        }
        let data = self.next_data(offset, 1).map_or(size, |run| run.start - run.start % BLOCK_BYTES);
        if data > offset {
            return Ok(Some(Block::zero(offset, data - offset)));
        }
        let len = (BLOCK_BYTES - offset % BLOCK_BYTES).min(size - offset);
        let mut bytes = vec![0; len as usize];
        self.read(offset, &mut bytes)?;
        Ok(Some(Block::bytes(offset, Bytes::from(bytes))))
    }
}

#[async_trait]
impl DiskRead for Reader {
    fn size(&self) -> u64 {
        self.0.size_bytes
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), xenkeep_disk::Error> {
        let reader = self.clone();
        let mut bytes = vec![0; buf.len()];
        let bytes = run_blocking(move || {
            reader.read(offset, &mut bytes)?;
            Ok(bytes)
        })
        .await
        .map_err(xenkeep_disk::Error::source)?;
        buf.copy_from_slice(&bytes);
        Ok(())
    }

    fn blocks(self: Arc<Self>) -> Blocks {
        let (sender, receiver) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut offset = 0;
            loop {
                let block = self.block_at(offset).map_err(xenkeep_disk::Error::source).transpose();
                let Some(block) = block else { return };
                let end = block.as_ref().map_or(u64::MAX, Block::end);
                if sender.blocking_send(block).is_err() || end == u64::MAX {
                    return;
                }
                offset = end;
            }
        });
        futures::stream::unfold(receiver, async |mut receiver| {
            let block = receiver.recv().await?;
            Some((block, receiver))
        })
        .boxed()
    }
}

/// Runs blocking work of the storage beside the runtime.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Io(std::io::Error::other(error))),
    }
}
