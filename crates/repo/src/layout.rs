//! How a disk lies in the tree of a point: as segment files of equal size, two directories deep.
//!
//! `disks/<position>/<region>/<extent>/<segment>`, all three hexadecimal numbers of fixed width, so that sorted paths
//! are the disk from its first to its last byte:
//!
//! | level   | name     | holds                      | with chunks of 512 KiB |
//! |---------|----------|----------------------------|------------------------|
//! | region  | 4 digits | 256 extents                | 32 GiB                 |
//! | extent  | 2 digits | 16 segments                | 128 MiB                |
//! | segment | 1 digit  | 16 chunks, in one file     | 8 MiB                  |
//!
//! Names count from the directory above them, and all times are the epoch: so equal directories are the same tree blob,
//! wherever they lie on whichever disk, and the empty parts of a disk cost nothing.

use std::ops::Range;

use jiff::Timestamp;

use crate::id::Id;
use crate::tree::{Node, Tree};

#[cfg(test)]
mod tests;

pub(crate) const SEGMENT_CHUNKS: u64 = 16;
pub(crate) const EXTENT_CHUNKS: u64 = 16 * SEGMENT_CHUNKS;
pub(crate) const REGION_EXTENTS: u64 = 256;
pub(crate) const REGION_CHUNKS: u64 = REGION_EXTENTS * EXTENT_CHUNKS;
const MAX_REGIONS: u64 = 1 << 16;

/// Size of a disk and of its chunks, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    size: u64,
    chunk_bytes: u32,
}

impl Layout {
    /// `None` if the disk is too large (2 PiB with chunks of 512 KiB).
    pub(crate) fn new(size: u64, chunk_bytes: u32) -> Option<Self> {
        let max = MAX_REGIONS * REGION_CHUNKS * u64::from(chunk_bytes);
        (chunk_bytes > 0 && size <= max).then_some(Layout { size, chunk_bytes })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn chunk_bytes(&self) -> u64 {
        u64::from(self.chunk_bytes)
    }

    pub(crate) fn chunks(&self) -> u64 {
        self.size.div_ceil(self.chunk_bytes())
    }

    pub(crate) fn extents(&self) -> u64 {
        self.chunks().div_ceil(EXTENT_CHUNKS)
    }

    pub(crate) fn regions(&self) -> u64 {
        self.chunks().div_ceil(REGION_CHUNKS)
    }

    /// Number of extents in a region.
    pub(crate) fn region_extents(&self, region: u64) -> u64 {
        (self.extents() - region * REGION_EXTENTS).min(REGION_EXTENTS)
    }

    /// Length of a chunk: only the last one of a disk may be shorter than the others.
    pub(crate) fn chunk_len(&self, chunk: u64) -> usize {
        let start = chunk * self.chunk_bytes();
        self.chunk_bytes().min(self.size.saturating_sub(start)) as usize
    }

    /// The chunks of an extent.
    pub(crate) fn extent(&self, extent: u64) -> Range<u64> {
        let start = extent * EXTENT_CHUNKS;
        start..self.chunks().min(start + EXTENT_CHUNKS)
    }

    /// Bytes of a segment that begins with this chunk.
    fn segment_len(&self, first_chunk: u64) -> u64 {
        let start = first_chunk * self.chunk_bytes();
        (SEGMENT_CHUNKS * self.chunk_bytes()).min(self.size - start)
    }

    /// The directory of an extent, of which all chunks are known.
    pub(crate) fn extent_tree(&self, extent: u64, chunks: &[Id]) -> Tree {
        let first = extent * EXTENT_CHUNKS;
        let segments = chunks.chunks(SEGMENT_CHUNKS as usize).zip(0_u64..);
        let node = |(content, number): (&[Id], u64)| {
            let size = self.segment_len(first + number * SEGMENT_CHUNKS);
            Node::file(&format!("{number:x}"), Timestamp::UNIX_EPOCH, size, content.to_vec())
        };
        Tree { nodes: segments.map(node).collect() }
    }

    /// The chunks that the directory of an extent names, if it is one.
    pub(crate) fn extent_chunks(&self, extent: u64, tree: Tree) -> Option<Vec<Id>> {
        let range = self.extent(extent);
        let mut chunks = Vec::with_capacity(EXTENT_CHUNKS as usize);
        for (number, node) in (0_u64..).zip(tree.nodes) {
            let first = range.start + number * SEGMENT_CHUNKS;
            let named = node.plain_name() == Some(&format!("{number:x}")) && node.subtree.is_none();
            if !named || first >= range.end || node.size != self.segment_len(first) {
                return None;
            }
            chunks.extend(node.content);
            if chunks.len() as u64 != (first + SEGMENT_CHUNKS).min(range.end) - range.start {
                return None;
            }
        }
        (chunks.len() as u64 == range.end - range.start).then_some(chunks)
    }
}

/// Digits of the names of regions, and of extents.
pub(crate) const REGION_DIGITS: usize = 4;
pub(crate) const EXTENT_DIGITS: usize = 2;

/// A directory of directories that are numbered.
pub(crate) fn numbered_tree(subtrees: &[Id], digits: usize) -> Tree {
    let node =
        |(subtree, number): (&Id, usize)| Node::dir(&format!("{number:0digits$x}"), Timestamp::UNIX_EPOCH, *subtree);
    Tree { nodes: subtrees.iter().zip(0..).map(node).collect() }
}

/// The directories in such a directory, if it is one.
pub(crate) fn numbered_subtrees(tree: &Tree, digits: usize) -> Option<Vec<Id>> {
    let subtree = |(node, number): (&Node, usize)| {
        let named = node.plain_name() == Some(&format!("{number:0digits$x}"));
        node.subtree.filter(|_| named)
    };
    tree.nodes.iter().zip(0..).map(subtree).collect()
}
