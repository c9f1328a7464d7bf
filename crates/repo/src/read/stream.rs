//! A whole disk in order: windows of it are read at once, each with as few reads of packs as pays.
//!
//! ```text
//! maps, read ahead ─► windows: 8 MiB of data each, whatever lies between ─► runs: pieces of packs ─► blocks, in order
//!    8 at once           6 at once, a task each            24 MiB of reads at once, of all windows
//! ```
//!
//! So there are at least 16 reads on their way whatever the layout: also where there is little data, or where it compresses
//! well. A point that consists of pieces of many others takes more and smaller reads; because bytes are what bounds them, and
//! not their number, it is not slower on a store that is far away. Memory: 48 MiB of chunks, 24 MiB of sealed runs, and
//! what the consumer holds; with chunks of 4 MiB twice as much.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use xenkeep_disk::block::MAX_BLOCK_BYTES;
use xenkeep_disk::buffers::Buffers;
use xenkeep_disk::{Block, Blocks};

use super::DiskReader;
use super::disk::Map;
use crate::blob::{self, check_len};
use crate::id::Id;
use crate::index::Location;
use crate::pack::BlobKind;
use crate::{Error, Result, work};

/// Maps of extents that are read at once, ahead of the windows.
const MAPS_IN_FLIGHT: usize = 8;

/// Bytes of data in a window, at least so many chunks, and how many there may be in all: those of zeros cost next to nothing.
const WINDOW_BYTES: u64 = 8 << 20;
const WINDOW_DATA_CHUNKS: u64 = 3;
const WINDOW_CHUNKS: usize = 1 << 16;
const WINDOWS_IN_FLIGHT: usize = 6;

/// Chunks that lie closer than this in a pack are read at once, with what lies between.
const MAX_GAP_BYTES: u32 = 128 << 10;
const MAX_READ_BYTES: u32 = 1 << 20;
/// One thread opens all of a read, so it must not be too much when it is unpacked.
const MAX_RAW_BYTES: u32 = 2 << 20;
/// Bytes that are on their way at once, and in how many reads at most.
const READING_BYTES: u32 = 24 << 20;
const MAX_READS_IN_FLIGHT: u32 = 96;
/// Sealed buffers that are kept for the next read.
const SEALED_BUFFERS: usize = (READING_BYTES / MAX_READ_BYTES) as usize;

/// What all windows share: the disk, the right to read, and memory that is used again and again.
#[derive(Clone)]
struct Shared {
    disk: Arc<DiskReader>,
    /// A permit is a byte on its way.
    reading: Arc<Semaphore>,
    sealed: Buffers,
    chunks: Buffers,
}

impl Shared {
    fn new(disk: Arc<DiskReader>) -> Self {
        // Twice the windows: somebody holds the blocks for a while.
        let chunks = 2 * WINDOWS_IN_FLIGHT * data_chunks(&disk) as usize;
        Shared {
            disk,
            reading: Arc::new(Semaphore::new(READING_BYTES as usize)),
            sealed: Buffers::new(SEALED_BUFFERS),
            chunks: Buffers::new(chunks),
        }
    }
}

/// Chunks of data in a window.
fn data_chunks(disk: &DiskReader) -> u64 {
    (WINDOW_BYTES / disk.layout().chunk_bytes()).max(WINDOW_DATA_CHUNKS)
}

pub(super) fn blocks(disk: Arc<DiskReader>) -> Blocks {
    let shared = Shared::new(disk.clone());
    windows(disk)
        .map_ok(move |window| {
            // A task of its own, so that it goes on while the consumer is busy.
            let task = AbortOnDropHandle::new(tokio::spawn(read_window(shared.clone(), window)));
            async move { task.await.unwrap_or(Err(Error::BrokenOff("the runtime shuts down"))) }
        })
        .try_buffered(WINDOWS_IN_FLIGHT)
        .map_ok(|blocks| stream::iter(blocks.into_iter().map(Ok::<_, Error>)))
        .try_flatten()
        .map_err(xenkeep_disk::Error::from)
        .boxed()
}

/// Chunks that follow each other on the disk.
#[derive(Default)]
struct Window {
    first: u64,
    ids: Vec<Id>,
}

/// Cuts the map of a disk into windows.
struct Planner {
    disk: Arc<DiskReader>,
    maps: BoxStream<'static, Result<Map>>,
    /// The map that is being cut, and how far.
    map: (Map, usize),
    next: u64,
}

fn windows(disk: Arc<DiskReader>) -> BoxStream<'static, Result<Window>> {
    let extents = disk.clone();
    let maps = stream::iter(0..disk.layout().extents()).map(move |extent| {
        let disk = extents.clone();
        async move { disk.extent(extent).await }
    });
    let planner = Planner { disk, maps: maps.buffered(MAPS_IN_FLIGHT).boxed(), map: (Map::default(), 0), next: 0 };
    stream::try_unfold(planner, Planner::next_window).boxed()
}

impl Planner {
    async fn next_window(mut self) -> Result<Option<(Window, Self)>> {
        let mut window = Window { first: self.next, ids: Vec::new() };
        let (zero, most) = (self.disk.repo.zero.id, data_chunks(&self.disk));
        let mut data = 0;
        while data < most && window.ids.len() < WINDOW_CHUNKS {
            let (map, taken) = &mut self.map;
            let Some(id) = map.get(*taken) else {
                match self.maps.try_next().await? {
                    Some(map) => self.map = (map, 0),
                    None => break,
                }
                continue;
            };
            data += u64::from(*id != zero);
            window.ids.push(*id);
            *taken += 1;
        }
        self.next += window.ids.len() as u64;
        Ok((!window.ids.is_empty()).then_some((window, self)))
    }
}

/// Chunks that are read from a pack in one go.
struct Run {
    pack: Id,
    start: u32,
    end: u32,
    raw_bytes: u32,
    chunks: Vec<(Id, Location)>,
}

async fn read_window(shared: Shared, window: Window) -> Result<Vec<Block>> {
    let disk = &shared.disk;
    let mut wanted: HashMap<Id, usize> = HashMap::new();
    for (chunk, id) in (window.first..).zip(&window.ids) {
        if *id != disk.repo.zero.id {
            wanted.insert(*id, disk.layout().chunk_len(chunk));
        }
    }
    let mut located = Vec::with_capacity(wanted.len());
    for (id, len) in wanted {
        let location = disk.repo.blobs.locate(BlobKind::Data, &id)?;
        check_len(&id, &location, len)?;
        located.push((id, location));
    }
    // How many of them are on their way is up to the semaphore.
    let reads: FuturesUnordered<_> = runs(located).into_iter().map(|run| read_run(&shared, run)).collect();
    let opened: Vec<_> = reads.try_collect().await?;
    let contents: HashMap<Id, Bytes> = opened.into_iter().flatten().collect();
    assemble(disk, &window, &contents)
}

/// Groups chunks into as few reads as pays.
fn runs(mut located: Vec<(Id, Location)>) -> Vec<Run> {
    located.sort_unstable_by_key(|(_, location)| (location.pack, location.offset));
    let mut runs: Vec<Run> = Vec::new();
    for (id, location) in located {
        let (start, end) = (location.offset, location.offset + location.sealed_len);
        match runs.last_mut() {
            Some(run)
                if run.pack == location.pack
                    && start >= run.end
                    && start - run.end <= MAX_GAP_BYTES
                    && end - run.start <= MAX_READ_BYTES
                    && run.raw_bytes + location.len() <= MAX_RAW_BYTES =>
            {
                run.end = end;
                run.raw_bytes += location.len();
                run.chunks.push((id, location));
            }
            _ => {
                let raw_bytes = location.len();
                runs.push(Run { pack: location.pack, start, end, raw_bytes, chunks: vec![(id, location)] });
            }
        }
    }
    runs
}

async fn read_run(shared: &Shared, run: Run) -> Result<Vec<(Id, Bytes)>> {
    let bytes = (run.end - run.start).clamp(READING_BYTES / MAX_READS_IN_FLIGHT, READING_BYTES);
    let _permit = shared.reading.acquire_many(bytes).await.map_err(|_| Error::BrokenOff("the stream has ended"))?;
    let chunks = run.chunks.clone();
    match open_run(shared, run).await {
        Err(Error::Damaged { .. }) => {}
        done => return done,
    }
    // One by one, each from whatever copy is good. Who is bad is said then.
    let mut opened = Vec::with_capacity(chunks.len());
    for (id, location) in chunks {
        opened.push((id, shared.disk.repo.blobs.chunk(id, location.len() as usize).await?));
    }
    Ok(opened)
}

async fn open_run(shared: &Shared, run: Run) -> Result<Vec<(Id, Bytes)>> {
    let blobs = &shared.disk.repo.blobs;
    let len = (run.end - run.start) as usize;
    let mut sealed = shared.sealed.take(len);
    *sealed = blobs.fetch(run.pack, run.start, len, mem::take(&mut *sealed)).await?;
    let (key, memory) = (blobs.key().clone(), shared.chunks.clone());
    work::run(move || {
        let opened = run.chunks.into_iter().map(|(id, location)| {
            let start = (location.offset - run.start) as usize;
            let mut raw = memory.take(location.len() as usize);
            blob::open(&key, &id, &location, &mut sealed[start..start + location.sealed_len as usize], &mut raw)?;
            Ok((id, raw.freeze()))
        });
        opened.collect()
    })
    .await?
}

fn assemble(disk: &DiskReader, window: &Window, contents: &HashMap<Id, Bytes>) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    for (chunk, id) in (window.first..).zip(&window.ids) {
        let offset = chunk * disk.layout().chunk_bytes();
        let len = disk.layout().chunk_len(chunk);
        if let Some(bytes) = contents.get(id) {
            let pieces = (0..len).step_by(MAX_BLOCK_BYTES);
            let piece = |start: usize| {
                Block::bytes(offset + start as u64, bytes.slice(start..len.min(start + MAX_BLOCK_BYTES)))
            };
            blocks.extend(pieces.map(piece));
            continue;
        }
        match blocks.last_mut() {
            _ if len != disk.repo.zero.chunk.len() => {
                return Err(Error::damaged(format!("chunk {chunk} of a disk"), "it has the wrong length"));
            }
            Some(Block { len: zeros, data: xenkeep_disk::Data::Zero, .. }) => *zeros += len as u64,
            _ => blocks.push(Block::zero(offset, len as u64)),
        }
    }
    Ok(blocks)
}
