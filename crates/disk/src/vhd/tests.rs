#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::*;
use crate::{Block, Blocks, Data, DiskRead, Error};

mod chain;
mod hostile;
mod roundtrip;

const MIB: u64 = 1 << 20;
const ID: ImageId = ImageId([7; 16]);

/// What a disk holds, run by run: length in sectors, and a byte, zeros, or nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    Bytes(u64, u8),
    Zero(u64),
    Unchanged(u64),
}

/// Blocks for the runs; no data block is longer than 1 MiB.
fn blocks(runs: &[Run]) -> Blocks {
    let (mut offset, mut blocks) = (0, Vec::new());
    for run in runs {
        let (sectors, data) = match *run {
            Run::Bytes(sectors, byte) => (sectors, Some(byte)),
            Run::Zero(sectors) | Run::Unchanged(sectors) => (sectors, None),
        };
        let mut len = sectors * SECTOR_BYTES;
        if let Some(byte) = data {
            while len > 0 {
                let some = len.min(MIB);
                blocks.push(Ok(Block::bytes(offset, Bytes::from(vec![byte; some as usize]))));
                (offset, len) = (offset + some, len - some);
            }
        } else if len > 0 {
            let data = if matches!(run, Run::Zero(_)) { Data::Zero } else { Data::Unchanged };
            blocks.push(Ok(Block { offset, len, data }));
            offset += len;
        }
    }
    stream::iter(blocks).boxed()
}

/// The disk that comes out when the runs are laid over a base.
fn contents(runs: &[Run], base: &[u8]) -> Vec<u8> {
    let mut disk = Vec::new();
    for run in runs {
        match *run {
            Run::Bytes(sectors, byte) => disk.resize(disk.len() + (sectors * SECTOR_BYTES) as usize, byte),
            Run::Zero(sectors) => disk.resize(disk.len() + (sectors * SECTOR_BYTES) as usize, 0),
            Run::Unchanged(sectors) => {
                for _ in 0..sectors * SECTOR_BYTES {
                    disk.push(base.get(disk.len()).copied().unwrap_or(0));
                }
            }
        }
    }
    disk
}

/// A plan that holds all blocks with something in them.
fn plan(runs: &[Run], differing_from: Option<ImageId>) -> Plan {
    let size = runs.iter().map(|run| sectors(run) * SECTOR_BYTES).sum();
    let mut plan = Plan::new(size, ID).unwrap();
    let mut offset = 0;
    for run in runs {
        let end = offset + sectors(run) * SECTOR_BYTES;
        let counts = match run {
            Run::Bytes(_, byte) => *byte != 0 || differing_from.is_some(),
            Run::Zero(_) => differing_from.is_some(),
            Run::Unchanged(_) => false,
        };
        if counts {
            plan.include(offset..end);
        }
        offset = end;
    }
    match differing_from {
        Some(parent) => plan.differing_from(parent, "parent.vhd"),
        None => plan,
    }
}

fn sectors(run: &Run) -> u64 {
    match run {
        Run::Bytes(sectors, _) | Run::Zero(sectors) | Run::Unchanged(sectors) => *sectors,
    }
}

/// The image, whose length must be as announced.
async fn image(plan: Plan, runs: &[Run]) -> Vec<u8> {
    let (mut image, total) = (Vec::new(), plan.total_bytes());
    assert_eq!(plan.write(blocks(runs), &mut image).await.unwrap(), total);
    assert_eq!(image.len() as u64, total);
    image
}

/// What a stream holds, laid over a base.
async fn read_stream(image: &[u8], base: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::open(image).await?;
    let mut disk: Vec<u8> = Vec::new();
    while let Some(block) = reader.next().await? {
        assert_eq!(block.offset, disk.len() as u64);
        match block.data {
            Data::Bytes(bytes) => disk.extend_from_slice(&bytes),
            Data::Zero => disk.resize(block.end() as usize, 0),
            Data::Unchanged => {
                let mut old = base[block.offset as usize..].to_vec();
                old.truncate(block.len as usize);
                disk.append(&mut old);
            }
        }
    }
    reader.finish().await?;
    Ok(disk)
}

/// What a disk holds, read in one go and in odd pieces.
async fn read_disk(disk: std::sync::Arc<dyn DiskRead>) -> Vec<u8> {
    let size = disk.size();
    let mut whole = vec![0; size as usize];
    let step = 777_777;
    for at in (0..whole.len()).step_by(step) {
        let end = whole.len().min(at + step);
        disk.read_at(at as u64, &mut whole[at..end]).await.unwrap();
    }
    let mut streamed = Vec::new();
    let blocks: Vec<Block> = crate::Gapless::new(disk.clone().blocks(), size).try_collect().await.unwrap();
    for block in blocks {
        match block.data {
            Data::Bytes(bytes) => streamed.extend_from_slice(&bytes),
            _ => streamed.resize(block.end() as usize, 0),
        }
    }
    assert!(streamed == whole);
    let mut offset = 0;
    while offset < size {
        let extent = disk.extent_at(offset, size - offset).await.unwrap();
        assert!(extent.len > 0 && offset + extent.len <= size);
        let run = &whole[offset as usize..(offset + extent.len) as usize];
        assert!(!extent.zero || crate::is_zero(run), "data at {offset}");
        offset += extent.len;
    }
    whole
}
