#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::sync::watch;
use xenkeep_disk::{Block, Data, DiskRead};

use super::*;
use crate::store::{Directory, Kind, Name, Store};
use crate::{CreateOptions, Kdf, Meta, Repo, WriteOptions};

const CHUNK: usize = 128 << 10;
/// So many reads shall be on their way at once.
const WANTED: usize = 16;
/// If they never are, the test fails after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store that answers no read of certain packs before many have been asked for.
struct Gate {
    store: Directory,
    packs: Mutex<HashSet<Id>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    bytes: AtomicUsize,
    most_bytes: AtomicUsize,
    all: AtomicUsize,
    open: watch::Sender<bool>,
}

#[async_trait]
impl Store for Gate {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.store.prepare().await
    }

    async fn sweep(&self) {
        self.store.sweep().await;
    }

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        self.store.put(name, content).await
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        self.store.get(name, max_bytes).await
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        if !name.id().is_some_and(|id| self.packs.lock().unwrap().contains(&id)) {
            return self.store.get_range(name, offset, len, buffer).await;
        }
        let number = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(number, Ordering::Relaxed);
        self.most_bytes.fetch_max(self.bytes.fetch_add(len, Ordering::Relaxed) + len, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
        if number >= WANTED {
            self.open.send_replace(true);
        }
        drop(tokio::time::timeout(PATIENCE, self.open.subscribe().wait_for(|open| *open)).await);
        let read = self.store.get_range(name, offset, len, buffer).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        read
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        self.store.len(name).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.store.list(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.store.remove(name).await
    }

    fn remove_now(&self, name: Name) {
        self.store.remove_now(name);
    }
}

async fn repository(dir: &std::path::Path) -> (Repo, Arc<Gate>) {
    let gate = Arc::new(Gate {
        store: Directory::new(dir),
        packs: Mutex::default(),
        in_flight: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        most_bytes: AtomicUsize::new(0),
        all: AtomicUsize::new(0),
        open: watch::Sender::new(false),
    });
    let options = CreateOptions { chunk_bytes: CHUNK as u32, kdf: Kdf { n: 1024, r: 8, p: 1 } };
    (Repo::create_in(dir.into(), gate.clone(), &"secret".into(), options).await.unwrap(), gate)
}

/// Stores a disk of chunks, of which each `every`th holds something.
async fn back_up(repo: &Repo, chunks: u64, every: u64, content: impl Fn(u64) -> Vec<u8>) -> Arc<DiskReader> {
    let writer = repo.begin(WriteOptions::default()).await.unwrap();
    let mut sink = writer.disk_sink("0", chunks * CHUNK as u64).unwrap();
    for chunk in (0..chunks).step_by(every as usize) {
        let offset = chunk * CHUNK as u64;
        sink.push(Block::bytes(offset, content(chunk).into())).await.unwrap();
        if every > 1 {
            sink.push(Block::zero(offset + CHUNK as u64, (every - 1) * CHUNK as u64)).await.unwrap();
        }
    }
    sink.finish().await.unwrap();
    let meta = Meta { host: "lab".into(), root: "/lab/vm".into(), tags: vec![], time: Timestamp::UNIX_EPOCH };
    let id = writer.commit(meta).await.unwrap();
    repo.open_point(&id).await.unwrap().disk("0").await.unwrap()
}

fn random(chunk: u64) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK];
    StdRng::seed_from_u64(chunk).fill_bytes(&mut bytes);
    bytes
}

/// Makes a few bytes when it is compressed.
fn repetitive(chunk: u64) -> Vec<u8> {
    (chunk + 1).to_le_bytes().repeat(CHUNK / 8)
}

async fn packs_of_data(repo: &Repo) -> HashSet<Id> {
    let mut packs = HashSet::new();
    let visit = |_: &Id, pack: crate::index::PackEntries| {
        packs.extend(pack.entries.iter().any(|entry| entry.kind == BlobKind::Data).then_some(pack.id));
        Ok(())
    };
    repo.opened().index().for_each_pack(visit).await.unwrap();
    packs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_reads_are_on_their_way_whatever_the_layout() {
    type Content = fn(u64) -> Vec<u8>;
    let layouts: [(&str, u64, u64, Content); 3] =
        [("dense", 400, 1, random), ("compressible", 400, 1, repetitive), ("sparse", 8000, 20, random)];
    for (layout, chunks, every, content) in layouts {
        let temp = tempfile::tempdir().unwrap();
        let (repo, gate) = repository(&temp.path().join("repo")).await;
        let disk = back_up(&repo, chunks, every, content).await;
        *gate.packs.lock().unwrap() = packs_of_data(&repo).await;
        let mut blocks = disk.blocks();
        let mut position = 0;
        while let Some(block) = blocks.next().await {
            let Block { offset, len, data } = block.unwrap();
            assert_eq!(offset, position);
            position += len;
            if let Data::Bytes(bytes) = data {
                let expected = content(offset / CHUNK as u64);
                let start = offset as usize % CHUNK;
                assert!(bytes[..] == expected[start..start + bytes.len()], "{layout}, at {offset}");
            }
        }
        assert_eq!(position, chunks * CHUNK as u64);
        assert!(*gate.open.borrow(), "{layout}: only {} reads at once", gate.most.load(Ordering::Relaxed));
        assert!(gate.most.load(Ordering::Relaxed) <= 96, "{layout}: a store has only so many connections");
        assert!(gate.most_bytes.load(Ordering::Relaxed) <= 24 << 20, "{layout}: memory is bounded");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_several_want_is_fetched_once() {
    let temp = tempfile::tempdir().unwrap();
    let (repo, gate) = repository(&temp.path().join("repo")).await;
    let disk = back_up(&repo, 64, 1, random).await;
    *gate.packs.lock().unwrap() = packs_of_data(&repo).await;
    // A long read fetches its chunks at once, and others who want the same pieces wait for them.
    let mut tasks = tokio::task::JoinSet::new();
    for reader in 0..4 {
        let disk = disk.clone();
        tasks.spawn(async move {
            let mut buf = vec![0; 40 * CHUNK];
            disk.read_at(reader * 100, &mut buf).await.unwrap();
            let expected: Vec<u8> = (0..41).flat_map(random).skip(reader as usize * 100).take(buf.len()).collect();
            assert!(buf == expected);
        });
    }
    tasks.join_all().await;
    assert_eq!(gate.all.load(Ordering::Relaxed), 41);
    assert_eq!(gate.most.load(Ordering::Relaxed), WANTED, "as many as one reader has on their way");
}
