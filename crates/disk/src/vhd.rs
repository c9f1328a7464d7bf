//! VHD: the images of XenServer's storage, and of Virtual PC and Hyper-V.
//!
//! [`Reader`] takes a stream apart as it arrives, [`Head`] tells from its first bytes alone which parts of the disk it
//! will hold, [`Plan`] makes one whose length is known beforehand, and [`open`] reads files at any place, a chain of
//! differences included.
//!
//! Format: a copy of the footer · the header of a dynamic image · the table of its blocks (BAT) · the blocks, each with
//! a bitmap of its sectors in front · the footer. A *fixed* image is the disk byte for byte, and the footer. What xapi
//! writes (`ocaml/libs/vhd/vhd_format/f.ml`) is narrower: the table stands at 2048, blocks have 2 MiB and ascend,
//! bitmaps are all ones. We write that, and read whatever the format allows.

use std::fmt;

mod file;
mod footer;
mod head;
mod header;
mod plan;
mod reader;
mod stream;
#[cfg(test)]
mod tests;

pub use file::{Disk, open};
pub use head::Head;
pub use plan::Plan;
pub use reader::Reader;

/// Size of the blocks that XenServer writes, and we do.
pub const BLOCK_BYTES: u64 = 2 << 20;
/// Largest disk that XenServer keeps as a VHD (`sm/vhdutil.py`): 2040 GiB.
pub const MAX_SIZE: u64 = 2040 << 30;

const SECTOR_BYTES: u64 = 512;
/// Largest block that is read; the format itself knows no limit.
const MAX_READ_BLOCK_BYTES: u64 = 64 << 20;
/// Longest table of blocks that is read: 2 TiB in blocks of 128 KiB.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Entry of a block that the image does not hold.
const UNUSED: u32 = u32::MAX;

/// What tells images apart: a uuid.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub [u8; 16]);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How an image relates to its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The disk byte for byte.
    Fixed,
    /// What it does not hold is zeros.
    Dynamic,
    /// What it does not hold stands in its parent.
    Differencing {
        /// Id of the parent.
        parent: ImageId,
        /// What its maker called the parent: mostly the name of a file.
        parent_name: String,
    },
}

/// The bitmap of a block is padded to whole sectors.
fn bitmap_bytes(block_bytes: u64) -> u64 {
    (block_bytes / SECTOR_BYTES).div_ceil(8).next_multiple_of(SECTOR_BYTES)
}

/// Whether a sector is marked in a bitmap (the highest bit is the first sector).
fn is_marked(bitmap: &[u8], sector: u64) -> bool {
    bitmap.get((sector / 8) as usize).is_some_and(|byte| byte & (0x80 >> (sector % 8)) != 0)
}

/// Whether the sector at `within` of a block of `end` bytes is marked, and how many bytes from there on are alike.
fn run_of(bitmap: &[u8], within: u64, end: u64) -> (bool, u64) {
    let marked = is_marked(bitmap, within / SECTOR_BYTES);
    let mut to = (within / SECTOR_BYTES + 1) * SECTOR_BYTES;
    let whole = if marked { 0xff } else { 0 };
    while to < end {
        let sector = to / SECTOR_BYTES;
        if sector.is_multiple_of(8) && bitmap.get((sector / 8) as usize) == Some(&whole) {
            to += 8 * SECTOR_BYTES;
        } else if is_marked(bitmap, sector) == marked {
            to += SECTOR_BYTES;
        } else {
            break;
        }
    }
    (marked, to.min(end) - within)
}

/// The sum that guards footer and header: the complement of the sum of all bytes, without those of the sum itself.
fn checksum(bytes: &[u8], sum_at: usize) -> u32 {
    let others = bytes.iter().enumerate().filter(|(at, _)| !(sum_at..sum_at + 4).contains(at));
    !others.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_be_bytes(four.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |eight| u64::from_be_bytes(eight.try_into().expect("eight bytes")))
}

fn id_at(bytes: &[u8], at: usize) -> ImageId {
    let mut id = ImageId::default();
    if let Some(found) = bytes.get(at..at + 16) {
        id.0.copy_from_slice(found);
    }
    id
}
