use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use quick_cache::sync::Cache;
use xenkeep_disk::block::check_range;
use xenkeep_disk::{Blocks, DiskRead, Extent};

use crate::id::Id;
use crate::layout::{EXTENT_CHUNKS, EXTENT_DIGITS, Layout, REGION_DIGITS, REGION_EXTENTS, numbered_subtrees};
use crate::pack::BlobKind;
use crate::repo::Opened;
use crate::session::Session;
use crate::{Error, Result};

/// Extents whose maps are kept: 8 KiB each.
const CACHED_EXTENTS: usize = 256;
/// Regions whose maps are kept: 8 KiB each.
const CACHED_REGIONS: usize = 64;
/// Chunks of one read that are fetched at once, as long as they are not more than so many bytes.
const READS_IN_FLIGHT: u64 = 16;
const BYTES_IN_FLIGHT: u64 = 16 << 20;

/// A disk of a restore point: read at any place, or whole and in order with [`DiskRead::blocks`], which is faster.
///
/// Its map is read as it is needed; memory does not grow with the size of the disk.
pub struct DiskReader {
    pub(super) repo: Arc<Opened>,
    /// Holds the lock.
    session: Arc<Session>,
    label: String,
    layout: Layout,
    regions: Vec<Id>,
    /// By their directories: equal ones are read once. Who wants what somebody else is just reading waits for him.
    region_maps: Cache<Id, Map>,
    extent_maps: Cache<Id, Map>,
}

/// Directories of the extents of a region, or the chunks of an extent.
pub(super) type Map = Arc<[Id]>;

impl DiskReader {
    pub(super) async fn open(repo: Arc<Opened>, session: Arc<Session>, label: String, tree: Id) -> Result<Self> {
        let damaged = || not_a_disk(&label);
        let regions = numbered_subtrees(&repo.blobs.tree(tree).await?, REGION_DIGITS).ok_or_else(damaged)?;
        let layout = find_layout(&repo, &regions).await?.ok_or_else(damaged)?;
        Ok(DiskReader {
            repo,
            session,
            label,
            layout,
            regions,
            region_maps: Cache::new(CACHED_REGIONS),
            extent_maps: Cache::new(CACHED_EXTENTS),
        })
    }

    /// The session in which it was opened.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Can a disk be stored over this one, in this repository?
    pub(crate) fn check_base(&self, repo: &Arc<Opened>) -> Result<()> {
        if !Arc::ptr_eq(&self.repo, repo) {
            return Err(Error::Invalid("the base lies in another repository".to_owned()));
        }
        if self.layout.chunk_bytes() != u64::from(repo.chunk_bytes()) {
            return Err(Error::Invalid("the base has chunks of another size".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn region_tree(&self, region: u64) -> Result<Id> {
        self.regions.get(region as usize).copied().ok_or_else(|| not_a_disk(&self.label))
    }

    async fn region(&self, region: u64) -> Result<Map> {
        let id = self.region_tree(region)?;
        let read = async {
            let extents = numbered_subtrees(&self.repo.blobs.tree(id).await?, EXTENT_DIGITS);
            extents.map(Map::from).ok_or_else(|| not_a_disk(&self.label))
        };
        let extents = self.region_maps.get_or_insert_async(&id, read).await?;
        let complete = extents.len() as u64 == self.layout.region_extents(region);
        if complete { Ok(extents) } else { Err(not_a_disk(&self.label)) }
    }

    pub(crate) async fn extent_tree(&self, extent: u64) -> Result<Id> {
        let extents = self.region(extent / REGION_EXTENTS).await?;
        extents.get((extent % REGION_EXTENTS) as usize).copied().ok_or_else(|| not_a_disk(&self.label))
    }

    /// The chunks of an extent.
    pub(super) async fn extent(&self, extent: u64) -> Result<Map> {
        let id = self.extent_tree(extent).await?;
        let read = async {
            let chunks = self.layout.extent_chunks(extent, self.repo.blobs.tree(id).await?);
            chunks.map(Map::from).ok_or_else(|| not_a_disk(&self.label))
        };
        let chunks = self.extent_maps.get_or_insert_async(&id, read).await?;
        let range = self.layout.extent(extent);
        let complete = chunks.len() as u64 == range.end - range.start;
        if complete { Ok(chunks) } else { Err(not_a_disk(&self.label)) }
    }

    /// Ids of a range of chunks.
    pub(crate) async fn chunks(&self, range: Range<u64>) -> Result<Vec<Id>> {
        let mut chunks = Vec::with_capacity((range.end - range.start) as usize);
        let mut next = range.start;
        while next < range.end {
            let extent = self.extent(next / EXTENT_CHUNKS).await?;
            let start = (next % EXTENT_CHUNKS) as usize;
            let end = extent.len().min(start + (range.end - next) as usize);
            let found = extent.get(start..end).filter(|found| !found.is_empty());
            chunks.extend_from_slice(found.ok_or_else(|| not_a_disk(&self.label))?);
            next = range.start + chunks.len() as u64;
        }
        Ok(chunks)
    }

    async fn chunk(&self, chunk: u64) -> Result<Bytes> {
        let id = self.chunks(chunk..chunk + 1).await?[0];
        let (zero, len) = (&self.repo.zero, self.layout.chunk_len(chunk));
        if id == zero.id && len == zero.chunk.len() {
            return Ok(zero.chunk.clone());
        }
        let bytes = self.repo.chunks.get_or_read(&id, self.repo.blobs.chunk(id, len)).await?;
        if bytes.len() == len { Ok(bytes) } else { Err(not_a_disk(&self.label)) }
    }

    /// Whether the chunk at `offset` is the one of zeros, and how far the chunks from there on are alike.
    async fn run_of_zeros(&self, offset: u64, len: u64) -> Result<Extent> {
        let chunk_bytes = self.layout.chunk_bytes();
        let first = offset / chunk_bytes;
        let end = (offset + len).div_ceil(chunk_bytes).clamp(first + 1, (first / EXTENT_CHUNKS + 1) * EXTENT_CHUNKS);
        let chunks = self.chunks(first..end).await?;
        let is_hole = |at: u64, id: &Id| {
            *id == self.repo.zero.id && self.layout.chunk_len(first + at) == self.repo.zero.chunk.len()
        };
        let mut holes = (0..).zip(&chunks).map(|(at, id)| is_hole(at, id));
        let zero = holes.next().unwrap_or(false);
        let alike = 1 + holes.take_while(|hole| *hole == zero).count() as u64;
        Ok(Extent { len: len.min((first + alike) * chunk_bytes - offset), zero })
    }

    pub(crate) async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.layout.size())?;
        if buf.is_empty() {
            return Ok(());
        }
        let chunk_bytes = self.layout.chunk_bytes();
        let in_flight = (BYTES_IN_FLIGHT / chunk_bytes).clamp(1, READS_IN_FLIGHT) as usize;
        let wanted = offset / chunk_bytes..(offset + buf.len() as u64).div_ceil(chunk_bytes);
        let mut chunks = stream::iter(wanted).map(|chunk| self.chunk(chunk)).buffered(in_flight);
        let (mut within, mut rest) = ((offset % chunk_bytes) as usize, buf);
        while let Some(chunk) = chunks.try_next().await? {
            let found = &chunk[within..];
            let len = found.len().min(rest.len());
            rest[..len].copy_from_slice(&found[..len]);
            rest = &mut rest[len..];
            within = 0;
        }
        Ok(())
    }
}

fn not_a_disk(label: &str) -> Error {
    Error::damaged(label, "its directories are not laid out as they should be")
}

/// Finds size and chunk size of a disk from its first and its last extent. What lies between is checked when it is read.
async fn find_layout(repo: &Opened, regions: &[Id]) -> Result<Option<Layout>> {
    let (Some(first), Some(last)) = (regions.first(), regions.last()) else {
        return Ok(Layout::new(0, repo.chunk_bytes()));
    };
    let first = numbered_subtrees(&repo.blobs.tree(*first).await?, EXTENT_DIGITS).unwrap_or_default();
    let last = numbered_subtrees(&repo.blobs.tree(*last).await?, EXTENT_DIGITS).unwrap_or_default();
    let (Some(first), Some(last_extent)) = (first.first(), last.last()) else { return Ok(None) };
    let first = repo.blobs.tree(*first).await?;
    let Some(chunk) = first.nodes.first().and_then(|segment| segment.content.first()) else { return Ok(None) };
    let mut chunk_bytes = repo.blobs.locate(BlobKind::Data, chunk)?.len();
    if regions.len() == 1 && last.len() == 1 && first.nodes.len() == 1 && first.nodes[0].content.len() == 1 {
        // The only chunk of the disk may be a short one.
        chunk_bytes = chunk_bytes.max(repo.chunk_bytes());
    }
    let extents = (regions.len() as u64 - 1) * REGION_EXTENTS + last.len() as u64 - 1;
    let extent_bytes: Option<u64> =
        repo.blobs.tree(*last_extent).await?.nodes.iter().try_fold(0_u64, |sum, segment| sum.checked_add(segment.size));
    let before = extents.checked_mul(EXTENT_CHUNKS * u64::from(chunk_bytes));
    let size = before.zip(extent_bytes).and_then(|(before, bytes)| before.checked_add(bytes));
    let layout = size.and_then(|size| Layout::new(size, chunk_bytes));
    Ok(layout.filter(|layout| layout.extents() == extents + 1 && layout.regions() == regions.len() as u64))
}

#[async_trait]
impl DiskRead for DiskReader {
    fn size(&self) -> u64 {
        self.layout.size()
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), xenkeep_disk::Error> {
        Ok(self.read(offset, buf).await?)
    }

    async fn extent_at(&self, offset: u64, len: u64) -> Result<Extent, xenkeep_disk::Error> {
        check_range(offset, len, self.layout.size())?;
        Ok(self.run_of_zeros(offset, len).await?)
    }

    fn blocks(self: Arc<Self>) -> Blocks {
        super::stream::blocks(self)
    }
}
