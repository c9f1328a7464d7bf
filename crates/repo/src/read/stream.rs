//! A whole disk in order: windows of it are read at once, each with as few reads of packs as possible.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::task::AbortOnDropHandle;
use xenkeep_disk::block::MAX_BLOCK_BYTES;
use xenkeep_disk::{Block, Blocks};

use super::DiskReader;
use crate::blob::check_len;
use crate::id::Id;
use crate::index::Location;
use crate::pack::BlobKind;
use crate::{Error, Result};

/// Bytes of the disk in a window, and windows in flight: 48 MiB, with as much again for what is still sealed, at worst.
const WINDOW_BYTES: u64 = 16 << 20;
const WINDOWS_IN_FLIGHT: usize = 3;

/// Chunks that lie closer than this in a pack are read at once, with what lies between.
const MAX_GAP_BYTES: u32 = 128 << 10;
const MAX_READ_BYTES: u32 = 8 << 20;

pub(super) fn blocks(disk: Arc<DiskReader>) -> Blocks {
    let layout = *disk.layout();
    let chunks = layout.chunks();
    let step = (WINDOW_BYTES / layout.chunk_bytes()).max(4);
    let windows = (0..chunks.div_ceil(step)).map(move |number| number * step..chunks.min((number + 1) * step));
    stream::iter(windows)
        .map(move |range| {
            // A task of its own, so that it goes on while the consumer is busy.
            let task = AbortOnDropHandle::new(tokio::spawn(window(disk.clone(), range)));
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

async fn window(disk: Arc<DiskReader>, range: Range<u64>) -> Result<Vec<Block>> {
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
    let runs = try_join_all(runs(located).into_iter().map(|run| read_run(&disk, run))).await?;
    let contents: HashMap<Id, Bytes> = runs.into_iter().flatten().collect();
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

async fn read_run(disk: &DiskReader, run: Run) -> Result<Vec<(Id, Bytes)>> {
    let blobs = &disk.repo.blobs;
    let mut rest = blobs.fetch(run.pack, run.start, (run.end - run.start) as usize).await?;
    let mut position = run.start;
    let opened = run.chunks.into_iter().map(|(id, location)| {
        drop(rest.split_to((location.offset - position) as usize));
        position = location.offset + location.sealed_len;
        let sealed = rest.split_to(location.sealed_len as usize);
        async move { Ok((id, blobs.open(id, location, sealed).await?)) }
    });
    try_join_all(opened.collect::<Vec<_>>()).await
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
