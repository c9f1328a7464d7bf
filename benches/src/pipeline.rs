//! The pipeline alone: a raw file into a fresh repository, beside zstd and restic.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use xenkeep_disk::DiskRead;
use xenkeep_disk::raw::RawFile;
use xenkeep_repo::{CreateOptions, Meta, OpenOptions, Repo, WriteOptions};

use crate::measure::{Cost, remove, run, size_of, succeed};
use crate::report::{PIPELINE, RESTIC, Report, ZSTD};
use crate::{PASSWORD, restore};

/// Takes turns: zstd, restic, xenkeep.
pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    // Everyone finds the disk in memory.
    std::io::copy(&mut std::fs::File::open(disk)?, &mut std::io::sink())?;
    report.measure(&mut [
        (ZSTD, &mut || zstd(disk, &scratch.join("disk.zst"))),
        (RESTIC, &mut || restic(disk, &scratch.join("restic"))),
        (PIPELINE, &mut || xenkeep(disk, &scratch.join("repo"))),
    ])
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
    run(restic_in(repo).args(["backup", "--no-cache", "--quiet"]).arg(disk))
}

pub(crate) fn restic_in(repo: &Path) -> Command {
    let mut restic = Command::new("restic");
    restic.arg("--repo").arg(repo).env("RESTIC_PASSWORD", PASSWORD);
    restic
}

fn xenkeep(disk: &Path, repo: &Path) -> Result<Cost> {
    succeed(restore::this()?.arg("create").arg(repo))?;
    let cost = run(restore::this()?.arg("write").arg(disk).arg(repo))?;
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

/// In a process of its own: writes a disk as a restore point.
pub(crate) async fn write(disk: &Path, repo: &Path) -> Result<()> {
    let repo = Repo::open(repo, &PASSWORD.into(), OpenOptions::default()).await?;
    let disk = RawFile::open(disk)?;
    let size = disk.size();
    let writer = repo.begin(WriteOptions::default()).await?;
    writer.disk("0", size, disk.blocks()).await?;
    let time = jiff::Timestamp::now();
    let meta = Meta { host: "bench".into(), root: "/bench/disk".into(), tags: Vec::new(), time };
    writer.commit(meta).await?;
    Ok(())
}
