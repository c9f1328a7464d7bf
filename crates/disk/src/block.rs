//! The vocabulary: runs of a disk that flow forward, and disks that can be asked.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};

use crate::Error;

#[cfg(test)]
mod tests;

/// Data blocks are never longer than this.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// A run of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes. For [`Data::Bytes`] that is the number of bytes, at most [`MAX_BLOCK_BYTES`].
    pub len: u64,
    /// What is there.
    pub data: Data,
}

/// What a run of a disk holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Data {
    /// These bytes.
    Bytes(Bytes),
    /// Zeros, of any length. Bytes may be zeros too.
    Zero,
    /// The same as in the image that the reader compares with. Never in a whole disk.
    Unchanged,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Data::Zero => f.write_str("Zero"),
            Data::Unchanged => f.write_str("Unchanged"),
        }
    }
}

impl Block {
    /// A run of data.
    #[must_use]
    pub fn bytes(offset: u64, bytes: Bytes) -> Self {
        Block { offset, len: bytes.len() as u64, data: Data::Bytes(bytes) }
    }

    /// A run of zeros.
    #[must_use]
    pub fn zero(offset: u64, len: u64) -> Self {
        Block { offset, len, data: Data::Zero }
    }

    /// The first byte behind it; saturates, [`Gapless`] finds such blocks.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// A disk from its first to its last byte: rising offsets, no overlap, no gap.
pub type Blocks = BoxStream<'static, Result<Block, Error>>;

/// What is known of a run of a disk without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length in bytes; it may go on alike behind that.
    pub len: u64,
    /// All of it is zeros. If not, it may be zeros all the same.
    pub zero: bool,
}

/// A disk that can be read at any place, by many at once.
#[async_trait]
pub trait DiskRead: Send + Sync + 'static {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes at `offset`; all of them must lie within the disk.
    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error>;

    /// What the tables of the disk say of the run at `offset`: at least one byte of it and at most `len`, of which there
    /// must be some, and all within the disk.
    ///
    /// The default knows no holes.
    async fn extent_at(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        check_range(offset, len, self.size())?;
        Ok(Extent { len, zero: false })
    }

    /// The whole disk in order. Known holes come as [`Data::Zero`].
    ///
    /// The default reads piece by piece; who can do better (read ahead, know holes) does.
    fn blocks(self: Arc<Self>) -> Blocks {
        stream::try_unfold((self, 0_u64), |(disk, offset)| async move {
            let len = (disk.size() - offset).min(MAX_BLOCK_BYTES as u64);
            if len == 0 {
                return Ok(None);
            }
            let mut buf = vec![0; len as usize];
            disk.read_at(offset, &mut buf).await?;
            Ok(Some((Block::bytes(offset, buf.into()), (disk, offset + len))))
        })
        .boxed()
    }
}

/// Does a run of `len` bytes at `offset` lie within a disk of `size` bytes?
pub fn check_range(offset: u64, len: u64, size: u64) -> Result<(), Error> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfRange { offset, len, size }),
    }
}

/// Are all of these bytes zero? Looks at 64 bytes at a time, so that the compiler can use wide registers.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (wide, rest) = bytes.as_chunks::<64>();
    wide.iter().all(|chunk| chunk.iter().fold(0, |acc, byte| acc | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Passes blocks on as long as they follow each other without gap or overlap, and demands that they end with the disk.
///
/// After an error nothing more comes.
pub struct Gapless {
    blocks: Blocks,
    size: u64,
    expected: u64,
    ended: bool,
}

impl Gapless {
    /// Checks the blocks of a disk of `size` bytes.
    #[must_use]
    pub fn new(blocks: Blocks, size: u64) -> Self {
        Gapless { blocks, size, expected: 0, ended: false }
    }

    fn check(&mut self, block: &Block) -> Result<(), Error> {
        let end = block.offset.checked_add(block.len).filter(|end| *end <= self.size);
        let whole = match &block.data {
            Data::Bytes(bytes) => bytes.len() as u64 == block.len && bytes.len() <= MAX_BLOCK_BYTES,
            Data::Zero | Data::Unchanged => true,
        };
        match end {
            Some(end) if block.offset == self.expected && whole => {
                self.expected = end;
                Ok(())
            }
            _ => Err(Error::Gap { expected: self.expected, found: block.offset }),
        }
    }
}

impl Stream for Gapless {
    type Item = Result<Block, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = match futures::ready!(self.blocks.as_mut().poll_next(cx)) {
            Some(Ok(block)) => self.check(&block).map(|()| block),
            Some(Err(error)) => Err(error),
            None if self.expected == self.size => {
                self.ended = true;
                return Poll::Ready(None);
            }
            None => Err(Error::Gap { expected: self.expected, found: self.size }),
        };
        self.ended = item.is_err();
        Poll::Ready(Some(item))
    }
}
