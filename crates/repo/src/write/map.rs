use std::sync::Arc;

use super::Shared;
use crate::id::Id;
use crate::layout::{self, EXTENT_CHUNKS, EXTENT_DIGITS, Layout, REGION_CHUNKS, REGION_DIGITS, REGION_EXTENTS};
use crate::read::DiskReader;
use crate::{Error, Result};

/// Builds the tree of a disk from the ids of its chunks, in order. Holds one extent, one region and the list of regions.
pub(super) struct MapBuilder {
    shared: Arc<Shared>,
    layout: Layout,
    /// Chunks of the extent that is being filled.
    chunks: Vec<Id>,
    /// Extents of the region that is being filled.
    extents: Vec<Id>,
    regions: Vec<Id>,
    /// The last full extent that consisted of one and the same chunk: that chunk and the extent's tree.
    uniform: Option<(Id, Id)>,
}

impl MapBuilder {
    pub(super) fn new(shared: Arc<Shared>, layout: Layout) -> Self {
        MapBuilder { shared, layout, chunks: Vec::new(), extents: Vec::new(), regions: Vec::new(), uniform: None }
    }

    fn next_extent(&self) -> u64 {
        self.regions.len() as u64 * REGION_EXTENTS + self.extents.len() as u64
    }

    fn next_chunk(&self) -> u64 {
        self.next_extent() * EXTENT_CHUNKS + self.chunks.len() as u64
    }

    pub(super) fn push(&mut self, chunk: Id) -> Result<()> {
        self.chunks.push(chunk);
        if self.chunks.len() as u64 == EXTENT_CHUNKS { self.close_extent() } else { Ok(()) }
    }

    /// The same chunk many times.
    pub(super) fn push_run(&mut self, chunk: Id, mut count: u64) -> Result<()> {
        while count > 0 {
            match self.uniform {
                Some((of, extent)) if of == chunk && self.chunks.is_empty() && count >= EXTENT_CHUNKS => {
                    self.push_extent(extent)?;
                    count -= EXTENT_CHUNKS;
                }
                _ => {
                    self.push(chunk)?;
                    count -= 1;
                }
            }
        }
        Ok(())
    }

    /// Chunks that are at the same place in `base`. Whole directories are taken over without being read, if they can be.
    pub(super) async fn push_base(&mut self, base: &DiskReader, mut count: u64) -> Result<()> {
        while count > 0 {
            let next = self.next_chunk();
            let alike = |chunks: u64| {
                let end = (next + chunks).min(self.layout.chunks());
                let same_end = end < base.layout().chunks().min(self.layout.chunks()) || *base.layout() == self.layout;
                (next.is_multiple_of(chunks) && next + count >= end && same_end).then_some(end - next)
            };
            if let Some(taken) = alike(REGION_CHUNKS) {
                self.regions.push(base.region_tree(next / REGION_CHUNKS)?);
                count -= taken;
            } else if let Some(taken) = alike(EXTENT_CHUNKS) {
                self.push_extent(base.extent_tree(next / EXTENT_CHUNKS).await?)?;
                count -= taken;
            } else {
                let end = (next + count).min((next / EXTENT_CHUNKS + 1) * EXTENT_CHUNKS);
                for chunk in base.chunks(next..end).await? {
                    self.push(chunk)?;
                }
                count -= end - next;
            }
        }
        Ok(())
    }

    fn close_extent(&mut self) -> Result<()> {
        let tree = self.layout.extent_tree(self.next_extent(), &self.chunks);
        let extent = self.shared.put_tree(&tree)?;
        let first = self.chunks[0];
        if self.chunks.len() as u64 == EXTENT_CHUNKS && self.chunks.iter().all(|chunk| *chunk == first) {
            // A shorter last chunk is another chunk: this extent is full.
            self.uniform = Some((first, extent));
        }
        self.chunks.clear();
        self.push_extent(extent)
    }

    fn push_extent(&mut self, extent: Id) -> Result<()> {
        self.extents.push(extent);
        if self.extents.len() as u64 == REGION_EXTENTS { self.close_region() } else { Ok(()) }
    }

    fn close_region(&mut self) -> Result<()> {
        let tree = layout::numbered_tree(&self.extents, EXTENT_DIGITS);
        self.regions.push(self.shared.put_tree(&tree)?);
        self.extents.clear();
        Ok(())
    }

    /// The tree of the whole disk.
    pub(super) fn finish(mut self) -> Result<Id> {
        if !self.chunks.is_empty() {
            self.close_extent()?;
        }
        if !self.extents.is_empty() {
            self.close_region()?;
        }
        if self.regions.len() as u64 != self.layout.regions() {
            return Err(Error::Invalid("the map of a disk has the wrong length".to_owned()));
        }
        self.shared.put_tree(&layout::numbered_tree(&self.regions, REGION_DIGITS))
    }
}
