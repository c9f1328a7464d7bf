//! What is left when we die in the midst of it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use futures::TryStreamExt;
use jiff::Timestamp;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use xenkeep_disk::{Block, Data, DiskRead};

use super::*;
use crate::Meta;
use crate::store::faulty::{Fault, Faulty};
use crate::store::flawed::{Flaw, Flawed};
use crate::store::memory::Memory;

pub(crate) const CHUNK: usize = 128 << 10;

pub(crate) fn password() -> SecretString {
    SecretString::from("secret")
}

pub(crate) fn noise(seed: u64) -> Vec<u8> {
    let mut noise = vec![0; 6 * CHUNK + 99];
    StdRng::seed_from_u64(seed).fill_bytes(&mut noise);
    noise
}

/// In memory where that can be had: whether a disk does what `fsync` promises is not what is tested here.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) async fn new_repo() -> (tempfile::TempDir, PathBuf) {
    let temp = temp_dir();
    let dir = temp.path().join("repo");
    let options = CreateOptions { chunk_bytes: CHUNK as u32, kdf: Kdf { n: 16, r: 8, p: 1 } };
    Repo::create(&dir, &password(), options).await.unwrap();
    (temp, dir)
}

pub(crate) async fn open_over(dir: &Path, store: Arc<dyn Store>) -> Result<Repo> {
    Repo::open_in(dir.into(), store, &password(), OpenOptions::default()).await
}

pub(crate) async fn back_up(repo: &Repo, seed: u64) -> Result<SnapshotId> {
    let writer = repo.begin(WriteOptions::default()).await?;
    let image = noise(seed);
    let mut sink = writer.disk_sink("0", image.len() as u64)?;
    sink.push(Block::bytes(0, image.into())).await?;
    sink.finish().await?;
    writer.file("seed", seed.to_string().into()).await?;
    let meta = Meta { host: "h".into(), root: "/h/v".into(), tags: vec![], time: Timestamp::now() };
    writer.commit(meta).await
}

/// Every point that is listed restores to what was read, and the next backup goes well.
pub(crate) async fn check_all(dir: &Path) -> usize {
    let repo = Repo::open(dir, &password(), OpenOptions::default()).await.unwrap();
    let list = repo.scan().await.unwrap();
    assert!(list.damaged.is_empty());
    for point in &list.points {
        let point = repo.open_point(&point.id).await.unwrap();
        let seed = String::from_utf8(point.file("seed").await.unwrap().to_vec()).unwrap().parse().unwrap();
        let disk: Arc<dyn DiskRead> = point.disk("0").await.unwrap();
        let blocks: Vec<Block> = disk.blocks().try_collect().await.unwrap();
        let bytes = |block: Block| match block.data {
            Data::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        };
        assert!(blocks.into_iter().flat_map(bytes).collect::<Vec<_>>() == noise(seed));
    }
    list.points.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_any_step_leaves_no_listed_point_that_is_damaged() {
    let (_temp, dir) = new_repo().await;
    let repo = Repo::open(&dir, &password(), OpenOptions::default()).await.unwrap();
    back_up(&repo, 0).await.unwrap();
    let mut listed = 1;
    for step in 0.. {
        let faulty = Faulty::new(&dir, step, Fault::Dead);
        let repo = open_over(&dir, faulty.clone()).await.unwrap();
        let result = back_up(&repo, 1 + step as u64).await;
        drop(repo);
        let now_listed = check_all(&dir).await;
        assert_eq!(now_listed, listed + usize::from(result.is_ok()), "step {step}");
        listed = now_listed;
        if faulty.changes() <= step {
            // Lock, two packs, index, snapshot, unlock.
            assert_eq!(faulty.changes(), 6);
            break;
        }
    }
    back_up(&repo, 1000).await.unwrap();
    check_all(&dir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_write_fails_the_point_and_only_that() {
    let (_temp, dir) = new_repo().await;
    for step in 0..5 {
        let faulty = Faulty::new(&dir, step, Fault::Once(std::io::ErrorKind::StorageFull));
        let repo = open_over(&dir, faulty).await.unwrap();
        let seed = 100 + step as u64;
        let error = back_up(&repo, seed).await.unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "step {step}: {error:?}");
        // The same open repository is good again.
        back_up(&repo, seed).await.unwrap();
        assert_eq!(check_all(&dir).await, step + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn points_that_share_a_lost_chunk_fail_together() {
    let (_temp, dir) = new_repo().await;
    // The first change is the lock, the second the pack.
    let faulty = Faulty::new(&dir, 1, Fault::Once(std::io::ErrorKind::StorageFull));
    let repo = open_over(&dir, faulty).await.unwrap();
    let mut writers = Vec::new();
    for _ in 0..2 {
        let writer = repo.begin(WriteOptions::default()).await.unwrap();
        let image = noise(1);
        let mut sink = writer.disk_sink("0", image.len() as u64).unwrap();
        sink.push(Block::bytes(0, image.into())).await.unwrap();
        sink.finish().await.unwrap();
        writers.push(writer);
    }
    for writer in writers {
        let meta = Meta { host: "h".into(), root: "/h/v".into(), tags: vec![], time: Timestamp::now() };
        assert!(matches!(writer.commit(meta).await, Err(Error::Full { .. })));
    }
    assert_eq!(check_all(&dir).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_writer_leaves_nothing_that_is_listed() {
    let (_temp, dir) = new_repo().await;
    let repo = Repo::open(&dir, &password(), OpenOptions::default()).await.unwrap();
    let image = noise(1);
    for pushed in 0..image.len() / CHUNK {
        let writer = repo.begin(WriteOptions::default()).await.unwrap();
        let mut sink = writer.disk_sink("0", image.len() as u64).unwrap();
        for chunk in 0..pushed {
            let bytes = Bytes::copy_from_slice(&image[chunk * CHUNK..][..CHUNK]);
            sink.push(Block::bytes((chunk * CHUNK) as u64, bytes)).await.unwrap();
        }
        drop((writer, sink));
        assert_eq!(check_all(&dir).await, 0);
    }
    back_up(&repo, 1).await.unwrap();
    assert_eq!(check_all(&dir).await, 1);
}

#[tokio::test]
async fn a_point_without_our_lock_is_not_listed() {
    let (_temp, dir) = new_repo().await;
    let repo = Repo::open(&dir, &password(), OpenOptions::default()).await.unwrap();
    let writer = repo.begin(WriteOptions::default()).await.unwrap();
    let locks = repo.0.store.list(Name::Lock).await.unwrap();
    repo.0.store.remove(Name::Lock(locks[0].0)).await.unwrap();
    let meta = Meta { host: "h".into(), root: "/h/v".into(), tags: vec![], time: Timestamp::now() };
    assert!(matches!(writer.commit(meta).await, Err(Error::LockLost)));
    assert!(repo.points().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_takes_no_lock_can_still_be_read() {
    let (_temp, dir) = new_repo().await;
    let id = back_up(&Repo::open(&dir, &password(), OpenOptions::default()).await.unwrap(), 5).await.unwrap();
    let full = Faulty::new(&dir, 0, Fault::Dead);
    let repo = open_over(&dir, full).await.unwrap();
    assert!(repo.begin(WriteOptions::default()).await.is_err());
    let point = repo.open_point(&id).await.unwrap();
    assert_eq!(point.file("seed").await.unwrap(), "5");
}

async fn try_restore(repo: &Repo, id: &SnapshotId) -> Result<bool> {
    let point = repo.open_point(id).await?;
    let seed = String::from_utf8(point.file("seed").await?.to_vec()).unwrap().parse().unwrap();
    let disk: Arc<dyn DiskRead> = point.disk("0").await?;
    let blocks: Vec<Block> = disk.blocks().try_collect().await.map_err(Error::from)?;
    let bytes = |block: Block| match block.data {
        Data::Bytes(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    Ok(blocks.into_iter().flat_map(bytes).collect::<Vec<_>>() == noise(seed))
}

/// A backup to a store with this flaw, and a restore from it: `Ok` if all went well, else the error that told of it.
async fn through(flaw: Flaw) -> (Result<()>, Arc<Flawed>) {
    let store = Memory::default();
    let options = CreateOptions { chunk_bytes: CHUNK as u32, kdf: Kdf { n: 16, r: 8, p: 1 } };
    let location = || Location::from(Path::new("memory"));
    Repo::create_in(location(), Arc::new(store.clone()), &password(), options).await.unwrap();
    let flawed = Flawed::new(Arc::new(store), flaw);
    let told = async {
        let repo = Repo::open_in(location(), flawed.clone(), &password(), OpenOptions::default()).await?;
        let id = back_up(&repo, 3).await?;
        // Somebody else reads it, who has seen nothing of the writing.
        let repo = Repo::open_in(location(), flawed.clone(), &password(), OpenOptions::default()).await?;
        assert!(try_restore(&repo, &id).await?, "{flaw:?}: other bytes came back");
        Ok(())
    };
    (told.await, flawed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_does_wrong_is_found_before_wrong_bytes_are_given() {
    let (good, counted) = through(Flaw::SpoilsRead(usize::MAX)).await;
    good.unwrap();
    let of_writes: [fn(usize) -> Flaw; 3] = [Flaw::Forgets, Flaw::CutsWrite, Flaw::SpoilsWrite];
    let of_reads: [fn(usize) -> Flaw; 2] = [Flaw::CutsRead, Flaw::SpoilsRead];
    let (mut found, mut all) = (0, 0);
    for flaw in of_writes {
        for at in 0..counted.writes() {
            all += 1;
            found += usize::from(through(flaw(at)).await.0.is_err());
        }
    }
    // Some files of a backup, such as its lock, are not read again.
    assert!(found * 2 > all, "{found} of {all} bad writes were found");
    let (mut found, mut all) = (0, 0);
    for flaw in of_reads {
        for at in 0..counted.reads() {
            all += 1;
            found += usize::from(through(flaw(at)).await.0.is_err());
        }
    }
    // A chunk of a disk is read once more before it is given up, and was spoiled only once.
    assert!(found * 2 > all, "{found} of {all} bad reads were told");
}
