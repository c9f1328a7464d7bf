//! Disk images and how to read or write them.
//!
//! Data has one vocabulary: a [`Block`] (a run of a disk: data, zeros, or unchanged) flows forward as [`Blocks`];
//! a [`DiskRead`] is asked backwards. Each format is an adapter to one of the two:
//!
//! - [`raw`]: plain files and block devices, holes included;
//! - [`qcow2`]: QEMU's images, read only, backing files refused;
//! - [`xva`]: XenServer's archive of a whole VM, read and written in one pass;
//! - [`value`]: the XML-RPC values that XenServer's metadata (`ova.xml`) is written in.
//!
//! Everything that is read here may come from anywhere: lengths are checked, memory is bounded, nothing panics.
//! This crate knows no pool, no network and no repository.

pub mod block;
mod error;
mod feed;
pub mod qcow2;
pub mod raw;
pub mod value;
pub mod xva;

pub use block::{Block, Blocks, Data, DiskRead, Gapless, is_zero};
pub use error::Error;
