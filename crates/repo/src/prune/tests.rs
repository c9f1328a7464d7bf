#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use xenkeep_disk::{Block, Data, DiskRead};

use super::*;
use crate::id::Id;
use crate::repo::tests::{CHUNK, new_repo, open_over, password};
use crate::store::{Directory, Kind, Name, Store};
use crate::{Error, Meta, OpenOptions, PointReader, PointWriter, Result, SnapshotId, WriteOptions};

mod killed;
mod locks;
mod races;
mod random;

/// What a disk holds: the numbers of its chunks.
type Chunks = Vec<u8>;

fn chunk(number: u8) -> Vec<u8> {
    let mut chunk = vec![0; CHUNK];
    StdRng::seed_from_u64(u64::from(number)).fill_bytes(&mut chunk);
    chunk
}

async fn open(dir: &Path) -> Repo {
    Repo::open(dir, &password(), OpenOptions::default()).await.unwrap()
}

/// Writes all of a point but its end.
async fn write(repo: &Repo, chunks: &[u8]) -> Result<PointWriter> {
    let writer = repo.begin(WriteOptions::default()).await?;
    let mut sink = writer.disk_sink("0", (chunks.len() * CHUNK) as u64)?;
    for (at, number) in chunks.iter().enumerate() {
        sink.push(Block::bytes((at * CHUNK) as u64, chunk(*number).into())).await?;
    }
    sink.finish().await?;
    writer.file("chunks", chunks.to_vec().into()).await?;
    Ok(writer)
}

/// The same, over a disk of another point, with the first chunk changed.
async fn write_over(repo: &Repo, base: &PointReader, first: u8) -> Result<PointWriter> {
    let mut chunks = base.file("chunks").await?.to_vec();
    let writer = repo.begin(WriteOptions::default()).await?;
    let mut sink = writer.disk_sink_over("0", (chunks.len() * CHUNK) as u64, base.disk("0").await?)?;
    sink.push(Block::bytes(0, chunk(first).into())).await?;
    if chunks.len() > 1 {
        let len = ((chunks.len() - 1) * CHUNK) as u64;
        sink.push(Block { offset: CHUNK as u64, len, data: Data::Unchanged }).await?;
    }
    sink.finish().await?;
    chunks[0] = first;
    writer.file("chunks", chunks.into()).await?;
    Ok(writer)
}

fn meta() -> Meta {
    Meta { host: "h".into(), root: "/h/v".into(), tags: vec![], time: Timestamp::now() }
}

async fn back_up(repo: &Repo, chunks: &[u8]) -> Result<SnapshotId> {
    write(repo, chunks).await?.commit(meta()).await
}

async fn check_point(point: &PointReader) {
    let chunks = point.file("chunks").await.unwrap();
    let disk: Arc<dyn DiskRead> = point.disk("0").await.unwrap();
    let blocks: Vec<Block> = disk.blocks().try_collect().await.unwrap();
    let mut at = 0;
    for block in blocks {
        let Data::Bytes(bytes) = block.data else { panic!("{block:?}") };
        let expected = chunk(chunks[at / CHUNK]);
        assert!(bytes == expected[at % CHUNK..][..bytes.len()], "byte {at}");
        at += bytes.len();
    }
    assert_eq!(at, chunks.len() * CHUNK);
}

/// All points that are listed restore, for somebody who knows nothing yet.
async fn check_all(dir: &Path) -> usize {
    let repo = open(dir).await;
    let list = repo.scan().await.unwrap();
    assert!(list.damaged.is_empty());
    for point in &list.points {
        check_point(&repo.open_point(&point.id).await.unwrap()).await;
    }
    list.points.len()
}

fn restic_check(dir: &Path) {
    let mut restic = Command::new("restic");
    restic.arg("-r").arg(dir).args(["--no-cache", "check", "--read-data"]).env("RESTIC_PASSWORD", "secret");
    let output = restic.output().expect("restic must be installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("no errors were found"), "{out}{err}");
}

fn now() -> PruneOptions {
    PruneOptions { grace: Duration::ZERO, max_unused_percent: 0.0, ..PruneOptions::default() }
}

async fn names(repo: &Repo, kind: Kind) -> BTreeSet<Id> {
    repo.0.store.list(kind).await.unwrap().into_iter().map(|(id, _)| id).collect()
}

/// A repository with two points, and what is left of two others: packs of which nothing, a part, and all is needed, and one
/// that no index file names.
async fn used_repo() -> (tempfile::TempDir, PathBuf) {
    let (temp, dir) = new_repo().await;
    let repo = open(&dir).await;
    let mut gone = Vec::new();
    for chunks in [vec![1, 2, 3], vec![4, 5], vec![1, 6, 7], vec![4, 8]] {
        let id = back_up(&repo, &chunks).await.unwrap();
        if chunks[0] == 4 && chunks[1] == 5 || chunks[1] == 2 {
            gone.push(id);
        }
    }
    for id in gone {
        repo.remove_point(&id).await.unwrap();
    }
    repo.0.store.put(Name::Pack(Id::of(b"left behind")), "left behind".into()).await.unwrap();
    drop(repo);
    (temp, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_point_needs_goes_and_the_rest_stays() {
    let (_temp, dir) = used_repo().await;
    let repo = open(&dir).await;
    let packs = names(&repo, Name::Pack).await;
    let index = names(&repo, Name::Index).await;

    let dry = repo.prune(PruneOptions { dry_run: true, ..now() }).await.unwrap();
    assert_eq!((names(&repo, Name::Pack).await, names(&repo, Name::Index).await), (packs.clone(), index));
    assert!(names(&repo, Name::Mark).await.is_empty());

    let report = repo.prune(now()).await.unwrap();
    assert_eq!(report, dry, "a dry run tells what is done then");
    assert_eq!(report.points, 2);
    assert!(report.repacked.packs >= 2 && report.to_delete.packs > report.repacked.packs, "{report:?}");
    assert_eq!((report.deleted, report.marked), (report.to_delete, report.to_delete));
    assert!(report.why.iter().any(|class| class.why == Why::NotIndexed && class.packs.packs == 1), "{report:?}");
    assert!(report.why.iter().any(|class| class.why == Why::PartlyNeeded), "{report:?}");
    assert!(report.waiting.is_empty() && report.rescued_packs == 0);
    assert!(names(&repo, Name::Mark).await.is_empty() && names(&repo, Name::Forgotten).await.is_empty());
    assert!(names(&repo, Name::Lock).await.is_empty());
    assert_eq!(check_all(&dir).await, 2);
    restic_check(&dir);

    let again = repo.prune(now()).await.unwrap();
    assert_eq!((again.unused_bytes, again.deleted, again.to_delete), (0, PackTotals::default(), PackTotals::default()));
    assert_eq!(again.why, []);
    assert_eq!(again.used_bytes, names_bytes(&repo).await);
    back_up(&repo, &[1, 2, 3, 4, 5]).await.unwrap();
    assert_eq!(check_all(&dir).await, 3);
}

async fn names_bytes(repo: &Repo) -> u64 {
    repo.0.store.list(Name::Pack).await.unwrap().iter().map(|(_, bytes)| bytes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_is_pruned_too() {
    let (_temp, dir) = new_repo().await;
    let repo = open(&dir).await;
    assert_eq!(repo.prune(now()).await.unwrap(), PruneReport::default());
    let id = back_up(&repo, &[1]).await.unwrap();
    repo.remove_point(&id).await.unwrap();
    assert_eq!(repo.prune(now()).await.unwrap().deleted.packs, 2);
    assert!(names(&repo, Name::Pack).await.is_empty());
    restic_check(&dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn little_waste_is_not_worth_the_work_and_limits_are_kept() {
    let (_temp, dir) = used_repo().await;
    let repo = open(&dir).await;
    let dry = |options| PruneOptions { dry_run: true, ..options };
    let report = repo.prune(dry(PruneOptions { max_unused_percent: 100.0, ..now() })).await.unwrap();
    assert_eq!(report.repacked.packs, 0);
    assert!(report.why.iter().any(|class| class.why == Why::WorthKeeping && class.unused_bytes > 0));
    let report = repo.prune(dry(PruneOptions { max_repack_bytes: Some(1), ..now() })).await.unwrap();
    assert_eq!(report.repacked.packs, 0);
    assert!(report.why.iter().any(|class| class.why == Why::RepackLimit));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_packs_and_index_files_are_put_together() {
    let (_temp, dir) = new_repo().await;
    let repo = open(&dir).await;
    for number in 0..36 {
        back_up(&repo, &[number]).await.unwrap();
    }
    let dry = repo.prune(PruneOptions { dry_run: true, ..now() }).await.unwrap();
    assert!(dry.why.iter().all(|class| class.why == Why::Small && class.packs.packs == 72), "{dry:?}");
    repo.prune(now()).await.unwrap();
    assert!(names(&repo, Name::Pack).await.len() <= 4 && names(&repo, Name::Index).await.len() <= 3);
    assert_eq!(check_all(&dir).await, 36);
    restic_check(&dir);
    assert_eq!(repo.prune(now()).await.unwrap().to_delete.packs, 0, "that is done once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_without_an_index_entry_or_a_pack_stops_it() {
    let (_temp, dir) = used_repo().await;
    let repo = open(&dir).await;
    let packs = names(&repo, Name::Pack).await;
    for kind in [Name::Index as Kind, Name::Pack] {
        for id in names(&repo, kind).await {
            if id == Id::of(b"left behind") {
                continue;
            }
            let content = repo.0.store.get(kind(id), 1 << 30).await.unwrap();
            repo.0.store.remove(kind(id)).await.unwrap();
            // With an open repository, and with one that has never seen the file.
            for repo in [&repo, &open(&dir).await] {
                if let Err(error) = repo.prune(PruneOptions { dry_run: true, ..now() }).await {
                    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
                    let error = repo.prune(now()).await.unwrap_err();
                    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
                    assert!(names(repo, Name::Mark).await.is_empty());
                }
            }
            repo.0.store.put(kind(id), content).await.unwrap();
        }
    }
    assert_eq!(names(&repo, Name::Pack).await, packs);
    assert_eq!(check_all(&dir).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restic_between_two_prunes_is_no_trouble() {
    let (_temp, dir) = used_repo().await;
    let repo = open(&dir).await;
    let waiting = PruneOptions { grace: Duration::from_secs(3600), ..now() };
    let report = repo.prune(waiting.clone()).await.unwrap();
    assert!(matches!(report.waiting[..], [Waiting { reason: WaitingReason::Grace { .. }, .. }, ..]), "{report:?}");
    assert_eq!(report.deleted.packs, 0);
    assert_eq!(check_all(&dir).await, 2);
    restic_check(&dir);
    let mut restic = Command::new("restic");
    restic.arg("-r").arg(&dir).args(["--no-cache", "prune", "--max-unused", "0"]).env("RESTIC_PASSWORD", "secret");
    assert!(restic.output().unwrap().status.success());
    assert!(!names(&repo, Name::Mark).await.is_empty());
    assert_eq!(check_all(&dir).await, 2);
    back_up(&repo, &[9, 1]).await.unwrap();
    repo.prune(waiting).await.unwrap();
    assert!(names(&repo, Name::Mark).await.is_empty(), "what it named is gone");
    repo.prune(now()).await.unwrap();
    assert_eq!(check_all(&dir).await, 3);
    restic_check(&dir);
}
