//! A disk cut into clusters, without those that are zeros.

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};

use crate::{Block, Blocks, Data, Error, Gapless, is_zero};

/// A piece of the disk: its number and its bytes, of which the last of the disk may have fewer.
pub(super) type Cluster = (u64, Bytes);

/// All clusters that are not zeros, in order.
pub(super) fn clusters(blocks: Blocks, size: u64, cluster_bytes: u64) -> BoxStream<'static, Result<Cluster, Error>> {
    let cutter = Cutter { blocks: Gapless::new(blocks, size), cluster_bytes, size, rest: None, partial: None };
    stream::try_unfold(cutter, |mut cutter| async move {
        let cluster = cutter.next().await?;
        Ok(cluster.map(|cluster| (cluster, cutter)))
    })
    .boxed()
}

struct Cutter {
    blocks: Gapless,
    cluster_bytes: u64,
    size: u64,
    /// What is left of the block that came last.
    rest: Option<Block>,
    /// A cluster that more than one block holds, filled up to the next offset.
    partial: Option<BytesMut>,
}

impl Cutter {
    async fn next(&mut self) -> Result<Option<Cluster>, Error> {
        loop {
            let block = match self.rest.take() {
                Some(block) => block,
                None => match self.blocks.next().await {
                    Some(block) => block?,
                    None => return Ok(None),
                },
            };
            if let Some(cluster) = self.take(block)? {
                return Ok(Some(cluster));
            }
        }
    }

    /// Takes what belongs to one cluster; the rest waits.
    fn take(&mut self, mut block: Block) -> Result<Option<Cluster>, Error> {
        if block.data == Data::Unchanged {
            return Err(Error::Unsupported("changes only, where a whole disk is needed".into()));
        }
        let (number, within) = (block.offset / self.cluster_bytes, block.offset % self.cluster_bytes);
        let end = ((number + 1) * self.cluster_bytes).min(self.size);
        let len = block.len.min(end - block.offset);
        let bytes = match &mut block.data {
            Data::Bytes(bytes) => Some(bytes.split_to(len as usize)),
            Data::Zero | Data::Unchanged if within == 0 && self.partial.is_none() => {
                // All whole clusters of zeros in one leap.
                let whole = if block.offset + block.len == self.size {
                    block.len
                } else {
                    block.len / self.cluster_bytes * self.cluster_bytes
                };
                if whole > 0 {
                    self.keep(block, whole);
                    return Ok(None);
                }
                None
            }
            Data::Zero | Data::Unchanged => None,
        };
        let at = block.offset;
        self.keep(block, len);
        if within == 0 && at + len == end {
            return Ok(bytes.filter(|bytes| !is_zero(bytes)).map(|bytes| (number, bytes)));
        }
        let partial = self.partial.get_or_insert_with(|| BytesMut::with_capacity(self.cluster_bytes as usize));
        match bytes {
            Some(bytes) => partial.extend_from_slice(&bytes),
            None => partial.resize(partial.len() + len as usize, 0),
        }
        if at + len < end {
            return Ok(None);
        }
        let whole = self.partial.take().unwrap_or_default().freeze();
        Ok(Some((number, whole)).filter(|(_, bytes)| !is_zero(bytes)))
    }

    /// Puts what follows the first `len` bytes back; of bytes they were taken already.
    fn keep(&mut self, block: Block, len: u64) {
        if block.len > len {
            self.rest = Some(Block { offset: block.offset + len, len: block.len - len, data: block.data });
        }
    }
}
