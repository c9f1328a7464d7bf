//! What the tests have in common: a repository in a directory of its own, and disks with contents that can be told apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use secrecy::SecretString;
use tempfile::TempDir;
use xenkeep_disk::{Block, Blocks, Data, DiskRead};
use xenkeep_repo::{Counters, CreateOptions, Kdf, Meta, OpenOptions, PointWriter, Repo, SnapshotId, WriteOptions};

pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const CHUNK: usize = 128 << 10;

pub(crate) struct Fixture {
    temp: TempDir,
    pub(crate) repo: Repo,
}

pub(crate) fn options() -> CreateOptions {
    CreateOptions { chunk_bytes: CHUNK as u32, kdf: Kdf { n: 1024, r: 8, p: 1 } }
}

pub(crate) fn password() -> SecretString {
    SecretString::from(PASSWORD)
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let repo = Repo::create(&temp.path().join("repo"), &password(), options()).await.unwrap();
        Fixture { temp, repo }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.temp.path().join("repo")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Opened again, as a process does that keeps an index on disk.
    pub(crate) async fn reopened(&self) -> Repo {
        let options = OpenOptions { cache_dir: Some(self.path("cache")), ..OpenOptions::default() };
        Repo::open(&self.dir(), &password(), options).await.unwrap()
    }
}

pub(crate) async fn begin(repo: &Repo) -> (PointWriter, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    (repo.begin(WriteOptions { counters: counters.clone() }).await.unwrap(), counters)
}

pub(crate) fn meta(number: i64) -> Meta {
    Meta {
        host: "lab".into(),
        root: "/lab/6f2b".into(),
        tags: vec!["vm".into(), format!("run={number}")],
        time: Timestamp::from_second(1_800_000_000 + number).unwrap(),
    }
}

/// Random data, compressible data, repetitions and holes; the length is not a multiple of anything.
pub(crate) fn image(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut image = vec![0; len];
    for (number, piece) in image.chunks_mut(96 << 10).enumerate() {
        match number % 5 {
            0 => rng.fill_bytes(piece),
            1 => piece.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 7 % 251) as u8),
            2 => piece.fill(seed as u8 | 1),
            _ => {}
        }
    }
    image
}

/// Blocks of uneven lengths; some zeros as holes, some as data.
pub(crate) fn blocks(image: &[u8], seed: u64) -> Vec<Block> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut blocks = Vec::new();
    let mut offset = 0;
    while offset < image.len() {
        let len = (1 + rng.next_u32() as usize % (300 << 10)).min(image.len() - offset);
        let piece = &image[offset..offset + len];
        let hole = piece.iter().all(|byte| *byte == 0) && rng.next_u32().is_multiple_of(2);
        let block = if hole {
            Block::zero(offset as u64, len as u64)
        } else {
            Block::bytes(offset as u64, Bytes::copy_from_slice(piece))
        };
        blocks.push(block);
        offset += len;
    }
    blocks
}

pub(crate) fn stream_of(blocks: Vec<Block>) -> Blocks {
    stream::iter(blocks.into_iter().map(Ok)).boxed()
}

/// Stores a point with one disk.
pub(crate) async fn back_up(repo: &Repo, number: i64, image: &[u8]) -> SnapshotId {
    let (writer, _) = begin(repo).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(image, 1))).await.unwrap();
    writer.file("point.json", format!("{{\"number\":{number}}}").into()).await.unwrap();
    writer.commit(meta(number)).await.unwrap()
}

/// Reads a disk through `blocks`, which must leave no gap.
pub(crate) async fn read_blocks(disk: Arc<dyn DiskRead>) -> Result<Vec<u8>, xenkeep_disk::Error> {
    let size = disk.size();
    let mut image = vec![0; size as usize];
    let mut blocks = xenkeep_disk::Gapless::new(disk.blocks(), size);
    while let Some(block) = blocks.next().await {
        let block = block?;
        match block.data {
            Data::Bytes(bytes) => image[block.offset as usize..][..bytes.len()].copy_from_slice(&bytes),
            Data::Zero => {}
            Data::Unchanged => panic!("a whole disk has nothing unchanged"),
        }
    }
    Ok(image)
}

pub(crate) async fn restored(repo: &Repo, id: &SnapshotId) -> Vec<u8> {
    let disk = repo.open_point(id).await.unwrap().disk("0").await.unwrap();
    read_blocks(disk).await.unwrap()
}

/// All files below a directory, sorted by path.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Waits until a directory is empty: the last worker thread may need a moment more than the one who waited for it.
pub(crate) async fn gone(dir: &Path) {
    for _ in 0..1000 {
        if files(dir).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{} is not empty: {:?}", dir.display(), files(dir));
}
