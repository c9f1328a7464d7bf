//! A restore point into a file, beside a plain copy and restic.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xenkeep_disk::DiskRead;
use xenkeep_disk::raw::write_sparse;
use xenkeep_repo::{OpenOptions, Repo};

use crate::measure::{Cost, remove, run, succeed};
use crate::report::{CP, RESTIC_RESTORE, RESTORE, Report};
use crate::{PASSWORD, pipeline};

/// Takes turns: cp, restic, xenkeep. The first restore is compared with the disk.
pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    let (repo, restic) = (scratch.join("repo"), scratch.join("restic"));
    succeed(this()?.arg("create").arg(&repo))?;
    succeed(this()?.arg("write").arg(disk).arg(&repo))?;
    pipeline::restic_backup(disk, &restic)?;
    let copy = scratch.join("copy.raw");
    let restored = scratch.join("restic-restored");
    report.measure(&mut [
        (CP, &mut || cp(disk, &copy)),
        (RESTIC_RESTORE, &mut || {
            let mut command = pipeline::restic_in(&restic);
            let cost = run(command.args(["restore", "latest", "--no-cache", "--quiet", "--target"]).arg(&restored))?;
            remove(&restored).map(|()| cost)
        }),
        (RESTORE, &mut || {
            let cost = run(this()?.arg("restore").arg(&repo).arg(&copy))?;
            compare(disk, &copy)?;
            remove(&copy).map(|()| cost)
        }),
    ])?;
    remove(&repo)?;
    remove(&restic)
}

/// Copies a file so that it is on the disk afterwards. Blocks are really copied, also where a file system could
/// share them.
pub(crate) fn cp(disk: &Path, copy: &Path) -> Result<Cost> {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"cp --reflink=never "$1" "$2" && sync "$2""#, "sh"]).arg(disk).arg(copy);
    let cost = run(&mut shell)?;
    remove(copy).map(|()| cost)
}

/// Speed without the right bytes is worth nothing.
pub(crate) fn compare(disk: &Path, copy: &Path) -> Result<()> {
    let mut cmp = Command::new("cmp");
    succeed(cmp.arg(disk).arg(copy)).context("the restored disk is not the one that was backed up").map(drop)
}

/// This program, for one of its other roles.
pub(crate) fn this() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// In a process of its own: writes the disk of the only restore point into a file.
pub(crate) async fn restore(repo: &Path, to: &Path) -> Result<()> {
    let repo = Repo::open(repo, &PASSWORD.into(), OpenOptions::default()).await?;
    let points = repo.points().await?;
    ensure!(points.len() == 1, "the repository holds {} points", points.len());
    let disk = repo.open_point(&points[0].id).await?.disk("0").await?;
    let size = disk.size();
    write_sparse(disk.blocks(), size, File::create(to)?, to).await?;
    Ok(())
}
