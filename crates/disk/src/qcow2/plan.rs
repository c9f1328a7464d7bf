use std::ops::Range;

use bytes::Bytes;
use flate2::{Compress, FlushCompress, Status};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_blocking;

use super::clusters::clusters;
use super::layout::Layout;
use super::stream;
use crate::block::MAX_BLOCK_BYTES;
use crate::{Blocks, DiskRead, Error};

/// Smallest clusters; they grow with the disk, so that the plan of one has at most this many.
const MIN_CLUSTER_BITS: u32 = 16;
const MAX_CLUSTER_BITS: u32 = 21;
const MAX_CLUSTERS: u64 = 4 << 20;
/// Largest disk: what the plan may take in memory.
const MAX_SIZE: u64 = 64 << 40;
/// Bytes of clusters that are compressed at once.
const BYTES_IN_WORK: u64 = 32 << 20;
/// Level of zstd; higher ones win little on disks.
const ZSTD_LEVEL: i32 = 1;
/// How far back deflate may refer (`qemu`: a window of 12 bits).
const DEFLATE_WINDOW_BYTES: usize = 4096;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Read by qemu since 5.1.
    Zstd,
    /// Read by everything that reads qcow2, larger and slower.
    Zlib,
}

/// An image that is to be made: which clusters it will hold and how long each is, so that its tables can stand before the
/// data and its length is known before its first byte is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) size: u64,
    pub(super) cluster_bits: u32,
    pub(super) compression: Option<Compression>,
    /// Length in the image of each cluster of the disk; 0 if it is not there.
    pub(super) lengths: Vec<u32>,
}

impl Plan {
    /// An image that holds nothing yet.
    pub fn new(size: u64) -> Result<Self, Error> {
        if size > MAX_SIZE {
            return Err(Error::TooLarge { what: "a disk as qcow2".into(), limit: MAX_SIZE });
        }
        let fits = |bits: &u32| size.div_ceil(1 << bits) <= MAX_CLUSTERS;
        let cluster_bits = (MIN_CLUSTER_BITS..MAX_CLUSTER_BITS).find(fits).unwrap_or(MAX_CLUSTER_BITS);
        let clusters = size.div_ceil(1 << cluster_bits);
        Ok(Plan { size, cluster_bits, compression: None, lengths: vec![0; clusters as usize] })
    }

    /// A compressed image of a disk, all of which is read and compressed for that: how long a cluster gets can't be known
    /// otherwise. The same blocks must come again when it is written.
    pub async fn compressed(size: u64, blocks: Blocks, compression: Compression) -> Result<Self, Error> {
        let mut plan = Self::new(size)?;
        plan.compression = Some(compression);
        let mut packed = plan.pack(blocks);
        while let Some((number, bytes)) = packed.try_next().await? {
            plan.lengths[number as usize] = bytes.len() as u32;
        }
        Ok(plan)
    }

    /// The image will hold all clusters that this range of the disk touches.
    pub fn include(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let end = range.end.min(self.size).div_ceil(self.cluster_bytes());
        let start = (range.start / self.cluster_bytes()).min(end);
        self.lengths[start as usize..end as usize].fill(1 << self.cluster_bits);
    }

    /// The image will hold all that is not known to be zeros.
    pub async fn include_data(&mut self, disk: &dyn DiskRead) -> Result<(), Error> {
        let mut offset = 0;
        while offset < self.size {
            let extent = disk.extent_at(offset, self.size - offset).await?;
            if !extent.zero {
                self.include(offset..offset + extent.len);
            }
            offset += extent.len;
        }
        Ok(())
    }

    /// Size of the disk in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Exact length of the image in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        Layout::of(self).total_bytes
    }

    /// The image, in pieces of at most 1 MiB. The blocks are those of the whole disk; there must be nothing but zeros
    /// outside of the clusters that the plan includes.
    #[must_use]
    pub fn stream(self, blocks: Blocks) -> BoxStream<'static, Result<Bytes, Error>> {
        let packed = self.pack(blocks);
        stream::stream(self, packed)
    }

    /// Writes the image, and says how long it is.
    pub async fn write(self, blocks: Blocks, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let total = self.total_bytes();
        let mut pieces = self.stream(blocks);
        while let Some(piece) = pieces.next().await {
            out.write_all(&piece?).await.map_err(Error::Stream)?;
        }
        out.flush().await.map_err(Error::Stream)?;
        Ok(total)
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The clusters that are not zeros, as they will stand in the image.
    fn pack(&self, blocks: Blocks) -> BoxStream<'static, Result<(u64, Bytes), Error>> {
        let cluster_bytes = self.cluster_bytes();
        let clusters = clusters(blocks, self.size, cluster_bytes);
        let pad = move |bytes: Bytes| {
            if bytes.len() as u64 == cluster_bytes {
                return bytes;
            }
            let mut padded = bytes.to_vec();
            padded.resize(cluster_bytes as usize, 0);
            padded.into()
        };
        let Some(compression) = self.compression else {
            return clusters.map_ok(move |(number, bytes)| (number, pad(bytes))).boxed();
        };
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let at_once = (BYTES_IN_WORK / cluster_bytes).clamp(1, 2 * cores) as usize;
        clusters
            .map(move |cluster| async move {
                let (number, bytes) = cluster?;
                let work = spawn_blocking(move || compress(compression, &pad(bytes)));
                Ok((number, work.await.map_err(|_| Error::Abandoned)??))
            })
            .buffered(at_once)
            .boxed()
    }
}

/// A cluster as it will stand in the image: itself where compressing it wins nothing.
fn compress(compression: Compression, cluster: &Bytes) -> Result<Bytes, Error> {
    let packed = match compression {
        Compression::Zstd => zstd::bulk::compress(cluster, ZSTD_LEVEL).map_err(Error::source)?,
        Compression::Zlib => deflate(cluster)?,
    };
    // A cluster is told from a compressed one by its length.
    Ok(if packed.len() < cluster.len() { packed.into() } else { cluster.clone() })
}

/// Raw deflate that refers no further back than qemu's window: what came before is forgotten every 4 KiB.
fn deflate(cluster: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packer = Compress::new(flate2::Compression::new(4), false);
    let mut out = Vec::with_capacity(cluster.len() + cluster.len() / 8 + 1024);
    let last = cluster.len().div_ceil(DEFLATE_WINDOW_BYTES) - 1;
    for (at, piece) in cluster.chunks(DEFLATE_WINDOW_BYTES).enumerate() {
        let flush = if at == last { FlushCompress::Finish } else { FlushCompress::Full };
        let before = packer.total_in();
        let status = packer.compress_vec(piece, &mut out, flush).map_err(Error::source)?;
        if packer.total_in() - before != piece.len() as u64 || (at == last && status != Status::StreamEnd) {
            // More than it was: it is kept as it is.
            return Ok(cluster.to_vec());
        }
    }
    Ok(out)
}

const _: () = assert!(MAX_BLOCK_BYTES <= 1 << MAX_CLUSTER_BITS);
