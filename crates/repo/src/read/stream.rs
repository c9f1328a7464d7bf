//! A whole disk in order: windows of it are read at once, each with as few reads of packs as possible.

use std::collections::HashMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::task::AbortOnDropHandle;
use xenkeep_disk::block::MAX_BLOCK_BYTES;
use xenkeep_disk::buffers::Buffers;
use xenkeep_disk::{Block, Blocks};

use super::DiskReader;
use crate::blob::{self, check_len};
use crate::id::Id;
use crate::index::Location;
use crate::pack::BlobKind;
use crate::{Error, Result, work};

/// Bytes of the disk in a window, and windows in flight: 32 MiB.
const WINDOW_BYTES: u64 = 8 << 20;
const WINDOWS_IN_FLIGHT: usize = 4;

/// Chunks that lie closer than this in a pack are read at once, with what lies between. One thread opens all of a read.
const MAX_GAP_BYTES: u32 = 128 << 10;
const MAX_READ_BYTES: u32 = 1 << 20;
/// Reads in flight for a window.
const READS_IN_FLIGHT: usize = 4;

/// Memory that is used again and again.
#[derive(Clone)]
struct Memory {
    sealed: Buffers,
    chunks: Buffers,
}

impl Memory {
    fn new(chunk_bytes: u64) -> Self {
        // Twice the windows: somebody holds the blocks for a while.
        let chunks = 2 * WINDOWS_IN_FLIGHT * (WINDOW_BYTES / chunk_bytes).max(1) as usize;
        Memory { sealed: Buffers::new(WINDOWS_IN_FLIGHT * READS_IN_FLIGHT), chunks: Buffers::new(chunks) }
    }
}

pub(super) fn blocks(disk: Arc<DiskReader>) -> Blocks {
    let layout = *disk.layout();
    let memory = Memory::new(layout.chunk_bytes());
    let chunks = layout.chunks();
    let step = (WINDOW_BYTES / layout.chunk_bytes()).max(4);
    let windows = (0..chunks.div_ceil(step)).map(move |number| number * step..chunks.min((number + 1) * step));
    stream::iter(windows)
        .map(move |range| {
            // A task of its own, so that it goes on while the consumer is busy.
            let task = AbortOnDropHandle::new(tokio::spawn(window(disk.clone(), memory.clone(), range)));
            async move { task.await.unwrap_or(Err(Error::BrokenOff("the runtime shuts down"))) }
        })
        .buffered(WINDOWS_IN_FLIGHT)
        .map_ok(|blocks| stream::iter(blocks.into_iter().map(Ok::<_, Error>)))
        .try_flatten()
        .map_err(xenkeep_disk::Error::from)
        .boxed()
}

/// Chunks that are read from a pack in one go.
struct Run {
    pack: Id,
    start: u32,
    end: u32,
    chunks: Vec<(Id, Location)>,
}

async fn window(disk: Arc<DiskReader>, memory: Memory, range: Range<u64>) -> Result<Vec<Block>> {
    let ids = disk.chunks(range.clone()).await?;
    let mut wanted: HashMap<Id, usize> = HashMap::new();
    for (chunk, id) in range.clone().zip(&ids) {
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
    let reads = runs(located).into_iter().map(|run| read_run(disk.clone(), memory.clone(), run));
    let opened: Vec<_> = stream::iter(reads).buffer_unordered(READS_IN_FLIGHT).try_collect().await?;
    let contents: HashMap<Id, Bytes> = opened.into_iter().flatten().collect();
    assemble(&disk, range, &ids, &contents)
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
                    && end - run.start <= MAX_READ_BYTES =>
            {
                run.end = end;
                run.chunks.push((id, location));
            }
            _ => runs.push(Run { pack: location.pack, start, end, chunks: vec![(id, location)] }),
        }
    }
    runs
}

async fn read_run(disk: Arc<DiskReader>, memory: Memory, run: Run) -> Result<Vec<(Id, Bytes)>> {
    let blobs = &disk.repo.blobs;
    let len = (run.end - run.start) as usize;
    let mut sealed = memory.sealed.take(len);
    *sealed = blobs.fetch(run.pack, run.start, len, mem::take(&mut *sealed)).await?;
    let key = blobs.key().clone();
    work::run(move || {
        let opened = run.chunks.into_iter().map(|(id, location)| {
            let start = (location.offset - run.start) as usize;
            let mut raw = memory.chunks.take(location.len() as usize);
            blob::open(&key, &id, &location, &mut sealed[start..start + location.sealed_len as usize], &mut raw)?;
            Ok((id, raw.freeze()))
        });
        opened.collect()
    })
    .await?
}

fn assemble(disk: &DiskReader, range: Range<u64>, ids: &[Id], contents: &HashMap<Id, Bytes>) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::with_capacity(ids.len());
    for (chunk, id) in range.zip(ids) {
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
