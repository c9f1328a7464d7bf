//! The pipeline alone: a raw file into a fresh repository, beside zstd, restic and rustic.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use xenkeep_disk::raw::RawFile;
use xenkeep_disk::{Block, Data, DiskRead};
use xenkeep_repo::{CreateOptions, DiskSink, Meta, OpenOptions, Repo, WriteOptions};

use crate::disk::{self, CHANGED_BLOCK_BYTES};
use crate::measure::{Cost, remove, run, size_of, succeed};
use crate::report::{Contestant, PIPELINE, RESTIC, RUSTIC, Report, ZSTD};
use crate::{PASSWORD, peers, restore};

/// Takes turns: zstd, restic, rustic where it was built in, xenkeep.
pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    // Everyone finds the disk in memory.
    std::io::copy(&mut std::fs::File::open(disk)?, &mut std::io::sink())?;
    let mut rustic = || rustic(disk, &scratch.join("rustic"));
    let (mut zstd, mut restic) = (|| zstd(disk, &scratch.join("disk.zst")), || restic(disk, &scratch.join("restic")));
    let mut xenkeep = || xenkeep(disk, &scratch.join("repo"), &[]);
    let mut turns: Vec<Contestant<'_>> = vec![(ZSTD, &mut zstd), (RESTIC, &mut restic)];
    if cfg!(feature = "rustic") {
        turns.push((RUSTIC, &mut rustic));
    }
    turns.push((PIPELINE, &mut xenkeep));
    report.measure(&mut turns)
}

pub(crate) fn zstd(disk: &Path, to: &Path) -> Result<Cost> {
    let mut zstd = Command::new("zstd");
    finish(run(zstd.args(["-1", "-T2", "-q", "-f"]).arg(disk).arg("-o").arg(to))?, to)
}

/// With its default compression (`auto`), without a cache that it would fill beside.
fn restic(disk: &Path, repo: &Path) -> Result<Cost> {
    let cost = restic_backup(disk, repo)?;
    finish(cost, repo)
}

/// A fresh restic repository with the disk in it.
pub(crate) fn restic_backup(disk: &Path, repo: &Path) -> Result<Cost> {
    succeed(restic_in(repo).args(["init", "--repository-version", "2"]))?;
    restic_again(disk, repo)
}

/// A further backup.
pub(crate) fn restic_again(disk: &Path, repo: &Path) -> Result<Cost> {
    run(restic_in(repo).args(["backup", "--no-cache", "--quiet"]).arg(disk))
}

pub(crate) fn restic_in(repo: &Path) -> Command {
    let mut restic = Command::new("restic");
    restic.arg("--repo").arg(repo).env("RESTIC_PASSWORD", PASSWORD);
    restic
}

fn rustic(disk: &Path, repo: &Path) -> Result<Cost> {
    peers::create(repo)?;
    finish(peers::back_up(disk, repo)?, repo)
}

pub(crate) fn xenkeep(disk: &Path, repo: &Path, options: &[&str]) -> Result<Cost> {
    succeed(restore::this()?.arg("create").arg(repo))?;
    let cost = run(restore::this()?.arg("write").arg(disk).arg(repo).args(options))?;
    finish(cost, repo)
}

/// Notes what was stored, and makes room for the next.
fn finish(cost: Cost, stored: &Path) -> Result<Cost> {
    let stored_bytes = size_of(stored)?;
    remove(stored)?;
    Ok(Cost { stored_bytes, ..cost })
}

/// In a process of its own: makes a repository.
pub(crate) async fn create(repo: &Path) -> Result<()> {
    Repo::create(repo, &PASSWORD.into(), CreateOptions::default()).await?;
    Ok(())
}

/// In a process of its own: writes a disk as a restore point; of `changed`, if there is such a list, only the blocks
/// that it names are read, and the rest is taken from the last point.
pub(crate) async fn write(disk: &Path, repo: &Path, delay: Duration, changed: Option<&Path>) -> Result<()> {
    let options = OpenOptions { request_delay: delay, ..OpenOptions::default() };
    let repo = Repo::open(repo, &PASSWORD.into(), options).await?;
    let disk = RawFile::open(disk)?;
    let size = disk.size();
    let writer = repo.begin(WriteOptions::default()).await?;
    match changed {
        None => drop(writer.disk("0", size, disk.blocks()).await?),
        Some(list) => {
            let points = repo.points().await?;
            let last = points.last().context("there is no point to store changes over")?;
            let base = repo.open_point(&last.id).await?.disk("0").await?;
            let mut sink = writer.disk_sink_over("0", size, base)?;
            push_changed(&mut sink, &*disk, &disk::read_changed(list)?).await?;
            sink.finish().await?;
        }
    }
    let time = jiff::Timestamp::now();
    let meta = Meta { host: "bench".into(), root: "/bench/disk".into(), tags: Vec::new(), time };
    writer.commit(meta).await?;
    Ok(())
}

/// What changed block tracking would give: the changed blocks, and that nothing else has changed.
async fn push_changed(sink: &mut DiskSink, disk: &dyn DiskRead, changed: &[u64]) -> Result<()> {
    let unchanged = |offset: u64, end: u64| Block { offset, len: end - offset, data: Data::Unchanged };
    let mut position = 0;
    for offset in changed.iter().map(|block| block * CHANGED_BLOCK_BYTES) {
        if offset > position {
            sink.push(unchanged(position, offset)).await?;
        }
        let mut bytes = vec![0; CHANGED_BLOCK_BYTES.min(disk.size() - offset) as usize];
        disk.read_at(offset, &mut bytes).await?;
        position = offset + bytes.len() as u64;
        sink.push(Block::bytes(offset, bytes.into())).await?;
    }
    if position < disk.size() {
        sink.push(unchanged(position, disk.size())).await?;
    }
    Ok(())
}
