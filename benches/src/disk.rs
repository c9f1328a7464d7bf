//! The disk that all work on: a file system with real files, some random data, and holes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xenkeep_disk::is_zero;

use crate::measure::{remove, succeed};

/// Share of the file system that is filled.
const FILL_PERCENT: u64 = 85;

/// Makes a raw disk: half of it an ext4 filled from `/usr`, a sixteenth random data, the rest holes.
pub(crate) fn make(scratch: &Path, size: u64) -> Result<PathBuf> {
    println!("making a disk of {} GiB from /usr …", size >> 30);
    let disk = scratch.join("disk.raw");
    let files = scratch.join("files");
    remove(&disk)?;
    let half = size / 2;
    copy_files(Path::new("/usr"), &files, half * FILL_PERCENT / 100)?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"]).arg(&files).arg(&disk);
    succeed(mke2fs.arg(format!("{}k", half >> 10)))?;
    fs::remove_dir_all(&files)?;
    let mut raw = File::options().write(true).open(&disk)?;
    raw.set_len(size)?;
    raw.seek(SeekFrom::Start(half + size / 8))?;
    io::copy(&mut File::open("/dev/urandom")?.take(size / 16), &mut raw)?;
    raw.sync_all()?;
    Ok(disk)
}

/// Blocks in which changes are tracked.
pub(crate) const CHANGED_BLOCK_BYTES: u64 = 64 << 10;

/// One block of data in so many is changed.
const ONE_IN: u64 = 20;

/// A disk some time later.
pub(crate) struct Changed {
    pub path: PathBuf,
    /// Numbers of the blocks that have changed, rising.
    pub blocks: Vec<u64>,
}

/// A copy of a disk in which a twentieth of all blocks that are not zero have other content: pages of other blocks in
/// another order, so that they can be compressed as well as before, and no contestant knows them.
pub(crate) fn change(disk: &Path, scratch: &Path) -> Result<Changed> {
    let path = scratch.join("next.raw");
    succeed(Command::new("cp").args(["--sparse=always", "--reflink=never"]).arg(disk).arg(&path))?;
    let (old, new) = (File::open(disk)?, File::options().write(true).open(&path)?);
    let mut data = Vec::new();
    let mut content = vec![0; CHANGED_BLOCK_BYTES as usize];
    for block in 0..disk.metadata()?.len() / CHANGED_BLOCK_BYTES {
        old.read_exact_at(&mut content, block * CHANGED_BLOCK_BYTES)?;
        if !is_zero(&content) {
            data.push(block);
        }
    }
    let spread = |block: u64| {
        block.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
    };
    let blocks: Vec<u64> = data.iter().copied().filter(|block| spread(*block).is_multiple_of(ONE_IN)).collect();
    for block in &blocks {
        let from = data[spread(block + 1) as usize % data.len()];
        old.read_exact_at(&mut content, from * CHANGED_BLOCK_BYTES)?;
        content.rotate_left(4096 * (1 + *block as usize % 15));
        content[..8].copy_from_slice(&block.to_le_bytes());
        new.write_all_at(&content, block * CHANGED_BLOCK_BYTES)?;
    }
    new.sync_all()?;
    Ok(Changed { path, blocks })
}

/// A list of blocks, one a line.
pub(crate) fn read_changed(list: &Path) -> Result<Vec<u64>> {
    let blocks = fs::read_to_string(list)?;
    blocks.lines().map(|line| line.parse().with_context(|| format!("{line:?} is no number"))).collect()
}

/// Copies files until there are `budget` bytes: small ones from everywhere before large ones, so that no single
/// library makes up the disk.
fn copy_files(from: &Path, to: &Path, budget: u64) -> Result<()> {
    let mut files = Vec::new();
    list(from, &mut HashSet::new(), &mut files)?;
    files.sort_by_key(|(path, size)| (mixed(path), *size));
    let mut copied = 0;
    for (path, size) in files {
        // A file takes whole blocks, and a few of them for itself.
        let taken = size.next_multiple_of(4096) + 1024;
        if copied + taken > budget {
            continue;
        }
        let target = to.join(path.strip_prefix(from)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        copied += taken;
    }
    Ok(())
}

/// A number that spreads paths evenly and is the same at each run.
fn mixed(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// All plain files below a directory, with their sizes. What has several names comes once: copies of it would be
/// many times on the disk, which no real one is (and 143 names of one program are no sample of anything).
fn list(dir: &Path, seen: &mut HashSet<u64>, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), seen, files)?;
        } else if kind.is_file() {
            let metadata = entry.metadata()?;
            if metadata.nlink() == 1 || seen.insert(metadata.ino()) {
                files.push((entry.path(), metadata.len()));
            }
        }
    }
    Ok(())
}
