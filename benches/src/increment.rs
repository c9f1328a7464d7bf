//! The next backup of a disk of which a twentieth has changed, scattered.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::disk::{self, CHANGED_BLOCK_BYTES};
use crate::measure::{Cost, remove, run, size_of, succeed};
use crate::report::{Contestant, NEXT, NEXT_CHANGED, RESTIC_NEXT, RUSTIC_NEXT, Report};
use crate::{peers, pipeline, restore};

/// Each contestant has a full backup, which is copied for each run: who stores what in addition?
pub(crate) fn measure(report: &mut Report, original: &Path, scratch: &Path) -> Result<()> {
    let next = disk::change(original, scratch)?;
    let changed = next.blocks.len() as u64 * CHANGED_BLOCK_BYTES;
    println!("the next state of the disk: {} MiB have changed in blocks of 64 KiB", changed >> 20);
    let list = scratch.join("changed");
    fs::write(&list, next.blocks.iter().map(|block| format!("{block}\n")).collect::<String>())?;
    let (ours, restic, rustic) = (scratch.join("ours"), scratch.join("restic"), scratch.join("rustic"));
    succeed(restore::this()?.arg("create").arg(&ours))?;
    succeed(restore::this()?.arg("write").arg(original).arg(&ours))?;
    pipeline::restic_backup(original, &restic)?;
    let mut with_restic = || added(&restic, |repo| pipeline::restic_again(&next.path, repo));
    let mut with_rustic = || added(&rustic, |repo| peers::back_up(&next.path, repo));
    let write = |options: &[&OsStr]| {
        added(&ours, |repo| run(restore::this()?.arg("write").arg(&next.path).arg(repo).args(options)))
    };
    let mut reading_all = || write(&[]);
    let mut reading_changed = || write(&["--changed".as_ref(), list.as_ref()]);
    let mut turns: Vec<Contestant<'_>> = vec![(RESTIC_NEXT, &mut with_restic)];
    if cfg!(feature = "rustic") {
        peers::create(&rustic)?;
        peers::back_up(original, &rustic)?;
        turns.push((RUSTIC_NEXT, &mut with_rustic));
    }
    turns.push((NEXT, &mut reading_all));
    turns.push((NEXT_CHANGED, &mut reading_changed));
    report.measure(&mut turns)?;
    for path in [&ours, &restic, &rustic, &next.path, &list] {
        remove(path)?;
    }
    Ok(())
}

/// Backs up into a copy of a repository. Files of repositories never change, so links to them are a copy.
fn added(base: &Path, back_up: impl FnOnce(&Path) -> Result<Cost>) -> Result<Cost> {
    let repo = base.with_extension("next");
    remove(&repo)?;
    succeed(Command::new("cp").arg("-al").arg(base).arg(&repo))?;
    let cost = back_up(&repo)?;
    let stored_bytes = size_of(&repo)?.saturating_sub(size_of(base)?);
    remove(&repo)?;
    Ok(Cost { stored_bytes, ..cost })
}
