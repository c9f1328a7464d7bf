//! The block map of a disk, shared between a disk and its snapshots until one of them writes.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::Error;
use super::space::{CLUSTER_BYTES, Cluster, Space, read_zero_filled};

/// Entries of a page: one page covers 64 MiB of a disk.
const PAGE_ENTRIES: u64 = 1024;

type Entry = Option<Arc<Cluster>>;
type Page = Vec<Entry>;

/// Where each cluster of a disk lies; a missing entry reads as zeros.
///
/// Cloning copies pointers to pages only, so a snapshot costs next to nothing. The number of
/// handles to a [`Cluster`] says whether it may be written in place.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pages: Vec<Option<Arc<Page>>>,
    present: u64,
}

/// A piece of a write that goes to one place of the file.
struct Piece {
    file_offset: u64,
    source: Source,
}

enum Source {
    /// This part of what was given.
    Given(Range<usize>),
    /// A whole cluster, put together from old and new.
    Merged(Vec<u8>),
}

impl Map {
    /// Number of clusters that hold data.
    pub(super) fn present(&self) -> u64 {
        self.present
    }

    pub(super) fn get(&self, index: u64) -> Option<&Arc<Cluster>> {
        let page = self.pages.get(usize::try_from(index / PAGE_ENTRIES).ok()?)?.as_ref()?;
        page.get((index % PAGE_ENTRIES) as usize)?.as_ref()
    }

    /// All clusters that hold data.
    pub(super) fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.pages.iter().flatten().flat_map(|page| page.iter().flatten())
    }

    /// The first cluster at or after `index` that holds data, if any below `end` does.
    pub(super) fn next_present(&self, mut index: u64, end: u64) -> Option<u64> {
        while index < end {
            let page = self.pages.get(usize::try_from(index / PAGE_ENTRIES).ok()?)?;
            match page {
                None => index = (index / PAGE_ENTRIES + 1) * PAGE_ENTRIES,
                Some(_) if self.get(index).is_some() => return Some(index),
                Some(_) => index += 1,
            }
        }
        None
    }

    /// Reads any range; contiguous clusters are read at once.
    pub(super) fn read(&self, space: &Space, mut offset: u64, mut buf: &mut [u8]) -> Result<(), Error> {
        while !buf.is_empty() {
            let within = offset % CLUSTER_BYTES;
            let index = offset / CLUSTER_BYTES;
            let cluster = self.get(index);
            let mut len = (CLUSTER_BYTES - within).min(buf.len() as u64);
            let mut next = index + 1;
            while len < buf.len() as u64 && self.follows(cluster, next, next - index) {
                len = (len + CLUSTER_BYTES).min(buf.len() as u64);
                next += 1;
            }
            let (now, rest) = std::mem::take(&mut buf).split_at_mut(len as usize);
            match cluster {
                Some(cluster) => read_zero_filled(space.file(), cluster.file_offset() + within, now)?,
                None => now.fill(0),
            }
            buf = rest;
            offset += len;
        }
        Ok(())
    }

    /// Whether cluster `index` lies `distance` clusters behind `first` (or is a hole like it).
    fn follows(&self, first: Option<&Arc<Cluster>>, index: u64, distance: u64) -> bool {
        match (first, self.get(index)) {
            (None, None) => true,
            (Some(first), Some(other)) => other.file_offset() == first.file_offset() + distance * CLUSTER_BYTES,
            _ => false,
        }
    }

    /// Writes any range. Shared clusters are replaced, own ones written in place.
    pub(super) fn write(&mut self, space: &Arc<Space>, offset: u64, data: &[u8]) -> Result<(), Error> {
        let first = offset / CLUSTER_BYTES;
        let parts = split(offset, data.len());
        let missing = parts.iter().zip(first..).filter(|(_, index)| !self.is_own(*index)).count();
        // All clusters are taken before anything changes, so that a full repository leaves the
        // disk as it was.
        let mut fresh = space.take(missing as u64)?.into_iter();
        let mut pieces: Vec<Piece> = Vec::new();
        for ((within, range), index) in parts.into_iter().zip(first..) {
            if self.is_own(index) {
                let cluster = self.get(index).expect("an own cluster is present");
                add_given(&mut pieces, cluster.file_offset() + within, range);
                continue;
            }
            let cluster = fresh.next().expect("one cluster was taken for each missing one");
            let file_offset = cluster.file_offset();
            if range.len() as u64 == CLUSTER_BYTES {
                add_given(&mut pieces, file_offset, range);
            } else {
                let merged = self.merged(index, within, &data[range])?;
                pieces.push(Piece { file_offset, source: Source::Merged(merged) });
            }
            self.set(index, Some(cluster));
        }
        for piece in pieces {
            let bytes = match &piece.source {
                Source::Given(range) => &data[range.clone()],
                Source::Merged(bytes) => bytes,
            };
            space.file().write_all_at(bytes, piece.file_offset)?;
        }
        Ok(())
    }

    /// Makes a range read as zeros; whole clusters become holes.
    pub(super) fn zero(&mut self, space: &Arc<Space>, offset: u64, len: u64) -> Result<(), Error> {
        let end = offset + len;
        let mut position = offset;
        while position < end {
            let index = position / CLUSTER_BYTES;
            let stop = ((index + 1) * CLUSTER_BYTES).min(end);
            if self.get(index).is_none() {
                let until = end.div_ceil(CLUSTER_BYTES);
                position = self.next_present(index, until).map_or(end, |next| next * CLUSTER_BYTES);
                continue;
            }
            if stop - position == CLUSTER_BYTES {
                self.set(index, None);
            } else {
                self.write(space, position, &vec![0; (stop - position) as usize])?;
            }
            position = stop;
        }
        Ok(())
    }

    /// Whether the cluster may be written in place: it is there, and nobody else sees it.
    fn is_own(&self, index: u64) -> bool {
        let Ok(number) = usize::try_from(index / PAGE_ENTRIES) else { return false };
        let Some(Some(page)) = self.pages.get(number) else { return false };
        // A shared page shares its clusters without counting each of them.
        Arc::strong_count(page) == 1 && self.get(index).is_some_and(|cluster| Arc::strong_count(cluster) == 1)
    }

    /// The old content of a cluster with `part` put over it.
    fn merged(&self, index: u64, within: u64, part: &[u8]) -> Result<Vec<u8>, Error> {
        let mut whole = vec![0; CLUSTER_BYTES as usize];
        if let Some(old) = self.get(index) {
            old.read(0, &mut whole)?;
        }
        whole[within as usize..within as usize + part.len()].copy_from_slice(part);
        Ok(whole)
    }

    fn set(&mut self, index: u64, entry: Entry) {
        let number = usize::try_from(index / PAGE_ENTRIES).expect("disks are far smaller");
        if self.pages.len() <= number {
            self.pages.resize(number + 1, None);
        }
        let page = self.pages[number].get_or_insert_with(|| Arc::new(vec![None; PAGE_ENTRIES as usize]));
        let slot = &mut Arc::make_mut(page)[(index % PAGE_ENTRIES) as usize];
        self.present += u64::from(entry.is_some());
        self.present -= u64::from(slot.is_some());
        *slot = entry;
    }
}

/// Cuts a write at cluster bounds: (offset within the cluster, which bytes of what was given).
fn split(offset: u64, len: usize) -> Vec<(u64, Range<usize>)> {
    let mut within = offset % CLUSTER_BYTES;
    let mut start = 0;
    let mut parts = Vec::new();
    while start < len {
        let end = len.min(start + (CLUSTER_BYTES - within) as usize);
        parts.push((within, start..end));
        start = end;
        within = 0;
    }
    parts
}

/// Adds a piece, or lengthens the last one when they are neighbours in memory and in the file.
fn add_given(pieces: &mut Vec<Piece>, file_offset: u64, range: Range<usize>) {
    if let Some(Piece { file_offset: before, source: Source::Given(last) }) = pieces.last_mut()
        && last.end == range.start
        && *before + last.len() as u64 == file_offset
    {
        last.end = range.end;
        return;
    }
    pieces.push(Piece { file_offset, source: Source::Given(range) });
}
