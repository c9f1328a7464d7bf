//! Media that fail, networks that stumble, and others who change the repository meanwhile.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use rustix::io::Errno;
use secrecy::SecretString;
use xenkeep_disk::Block;

use super::*;
use crate::id::Id;
use crate::store::{Directory, Kind, Name, Store};
use crate::{CreateOptions, Kdf, Location, Meta, OpenOptions, SnapshotId, WriteOptions};

const CHUNK: usize = 128 << 10;

/// What becomes of a part of a pack that was asked for.
type Hook = dyn Fn(Id, u64, Result<Vec<u8>>) -> Result<Vec<u8>> + Send + Sync;

/// A directory in which reading packs does not go as it should.
struct Odd {
    directory: Directory,
    hook: Mutex<Arc<Hook>>,
}

#[async_trait]
impl Store for Odd {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.directory.prepare().await
    }

    async fn sweep(&self) {
        self.directory.sweep().await;
    }

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        self.directory.put(name, content).await
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        self.directory.get(name, max_bytes).await
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        let read = self.directory.get_range(name, offset, len, buffer).await;
        let hook = self.hook.lock().unwrap().clone();
        match name {
            Name::Pack(id) => hook(id, offset, read),
            _ => read,
        }
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        self.directory.len(name).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.directory.list(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.directory.remove(name).await
    }

    fn remove_now(&self, name: Name) {
        self.directory.remove_now(name);
    }
}

struct Bench {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    store: Arc<Odd>,
    repo: Repo,
    points: Vec<SnapshotId>,
}

impl Bench {
    async fn new(points: u64) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("repo");
        let store = Arc::new(Odd { directory: Directory::new(&dir), hook: Mutex::new(Arc::new(|_, _, read| read)) });
        let options = CreateOptions { chunk_bytes: CHUNK as u32, kdf: Kdf { n: 16, r: 8, p: 1 } };
        let password = SecretString::from("secret");
        Repo::create_in(Location::from(&dir), store.clone(), &password, options).await.unwrap();
        let repo = Repo::open_in(Location::from(&dir), store.clone(), &password, OpenOptions::default()).await.unwrap();
        let mut bench = Bench { _temp: temp, dir, store, repo, points: Vec::new() };
        for seed in 0..points {
            bench.points.push(back_up(&bench.repo, seed).await);
        }
        bench
    }

    fn on_read(&self, hook: impl Fn(Id, u64, Result<Vec<u8>>) -> Result<Vec<u8>> + Send + Sync + 'static) {
        *self.store.hook.lock().unwrap() = Arc::new(hook);
    }

    async fn verify(&self, depth: Depth) -> Result<VerifyReport> {
        self.repo.verify(VerifyOptions { depth, ..VerifyOptions::default() }).await
    }

    /// The packs of chunks.
    async fn data_packs(&self) -> Vec<Id> {
        let packs = self.store.list(Name::Pack).await.unwrap();
        packs.into_iter().filter(|(_, len)| *len > CHUNK as u64).map(|(id, _)| id).collect()
    }

    fn records(&self) -> usize {
        fs::read_dir(self.dir.join("xenkeep/damage")).map_or(0, Iterator::count)
    }
}

async fn back_up(repo: &Repo, seed: u64) -> SnapshotId {
    let mut noise = vec![0; 4 * CHUNK];
    StdRng::seed_from_u64(seed).fill_bytes(&mut noise);
    let writer = repo.begin(WriteOptions::default()).await.unwrap();
    let mut sink = writer.disk_sink("0", noise.len() as u64).unwrap();
    sink.push(Block::bytes(0, noise.into())).await.unwrap();
    sink.finish().await.unwrap();
    let meta = Meta { host: "h".into(), root: "/h/v".into(), tags: vec![], time: Timestamp::UNIX_EPOCH };
    writer.commit(meta).await.unwrap()
}

fn failed<T>(error: io::Error) -> Result<T> {
    Err(Error::io(Path::new("pack"), error))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_sector_harms_the_chunks_on_it() {
    let bench = Bench::new(1).await;
    let pack = bench.data_packs().await[0];
    let sector = (CHUNK + 5000) as u64; // in the second chunk
    bench.on_read(move |id, offset, read| match read {
        Ok(bytes) if id == pack && (offset..offset + bytes.len() as u64).contains(&sector) => {
            failed(io::Error::from_raw_os_error(Errno::IO.raw_os_error()))
        }
        read => read,
    });
    let report = bench.verify(Depth::Full).await.unwrap();
    assert_eq!((report.damaged.len(), report.undecided.len()), (1, 0), "{report:#?}");
    let file = &report.damaged[0];
    assert_eq!((file.chunks, file.points.len()), (1, 1), "{file:?}");
    assert!(file.why.contains("Input/output error"), "{file:?}");
    // The backup that comes next stores it again, and all is well.
    back_up(&bench.repo, 0).await;
    let report = bench.verify(Depth::Full).await.unwrap();
    assert_eq!((report.healed_chunks, report.affected_points().len()), (1, 0), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_not_taken_for_damage() {
    let bench = Bench::new(3).await;
    let pack = bench.data_packs().await[1];
    bench.on_read(move |id, _, read| if id == pack { failed(io::ErrorKind::TimedOut.into()) } else { read });
    let report = bench.verify(Depth::Full).await.unwrap();
    assert_eq!((report.damaged.len(), report.undecided.len()), (0, 1), "{report:#?}");
    assert_eq!(report.undecided[0].name, Name::Pack(pack).to_string());
    assert_eq!((report.packs_checked, report.never_verified_packs, bench.records()), (5, 1, 0), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_no_more_ends_it() {
    let bench = Bench::new(24).await;
    bench.on_read(|_, _, _| failed(io::ErrorKind::TimedOut.into()));
    let error = bench.verify(Depth::Full).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(bench.records(), 0);
    // Directories are read by a quick look, too.
    bench.verify(Depth::Quick).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_at_the_second_reading_are_told() {
    let bench = Bench::new(1).await;
    let pack = bench.data_packs().await[0];
    let seen = Mutex::new(HashSet::new());
    bench.on_read(move |id, _, read| {
        read.map(|mut bytes| {
            if id == pack && seen.lock().unwrap().insert(id) {
                bytes[100] ^= 1;
            }
            bytes
        })
    });
    let report = bench.verify(Depth::Full).await.unwrap();
    assert_eq!((report.damaged.len(), report.undecided.len()), (0, 1), "{report:#?}");
    assert!(report.undecided[0].why.contains("other bytes"), "{report:#?}");
    assert!(bench.verify(Depth::Full).await.unwrap().is_clean());
}

/// Takes away a point as a prune does: index file before packs.
fn prune(dir: &Path, point: SnapshotId, index: &[PathBuf], packs: &[PathBuf]) {
    drop(fs::remove_file(dir.join("snapshots").join(point.to_string())));
    for file in index.iter().chain(packs) {
        drop(fs::remove_file(file));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pruned_meanwhile_is_no_damage() {
    let bench = Bench::new(1).await;
    let files = |kind: &str| -> HashSet<PathBuf> {
        let entries = fs::read_dir(bench.dir.join(kind)).unwrap().map(|entry| entry.unwrap().path());
        entries.collect()
    };
    let packs = || -> HashSet<PathBuf> {
        files("data").iter().flat_map(|dir| fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path()).collect()
    };
    for depth in [Depth::Quick, Depth::Full] {
        let (old_index, old_packs) = (files("index"), packs());
        let point = back_up(&bench.repo, 7).await;
        let index: Vec<_> = files("index").difference(&old_index).cloned().collect();
        let packs: Vec<_> = packs().difference(&old_packs).cloned().collect();
        assert_eq!((index.len(), packs.len()), (1, 2));
        let dir = bench.dir.clone();
        // With the first byte that is read of any pack.
        bench.on_read(move |_, _, _| {
            prune(&dir, point, &index, &packs);
            Err(Error::NotFound { what: "pack".to_owned() })
        });
        let store = bench.store.clone();
        tokio::spawn(async move {
            // From then on, all others can be read again.
            while store.len(Name::Snapshot(point.0)).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
            *store.hook.lock().unwrap() = Arc::new(|_, _, read| read);
        });
        let report = bench.verify(depth).await.unwrap();
        assert!(report.is_clean(), "{depth:?}: {report:#?}");
        assert_eq!(bench.records(), 0);
    }
}
