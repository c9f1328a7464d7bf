//! Disk images and how to read or write them.
//!
//! Data has one vocabulary: a [`Block`] (a run of a disk: data, zeros, or unchanged) flows forward as [`Blocks`];
//! a [`DiskRead`] is asked backwards. Each format is an adapter to one of the two:
//!
//! - [`raw`]: plain files and block devices, holes included;
//! - [`qcow2`]: QEMU's images, written in one pass and read, backing files refused;
//! - [`vhd`]: the images of XenServer's storage, read and written in one pass, and chains of them as files;
//! - [`xva`]: XenServer's archive of a whole VM, read and written in one pass;
//! - [`value`]: the XML-RPC values that XenServer's metadata (`ova.xml`) is written in.
//!
//! Everything that is read here may come from anywhere: lengths are checked, memory is bounded, nothing panics.
//! This crate knows no pool, no network and no repository.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let temp = tempfile::tempdir().unwrap();
//! # let (image, copy) = (temp.path().join("image"), temp.path().join("copy"));
//! # std::fs::write(&image, [7; 5000]).unwrap();
//! use xenkeep_disk::{DiskRead, raw};
//!
//! let disk = raw::RawFile::open(&image)?;
//! let mut sector = [0; 512];
//! disk.read_at(512, &mut sector).await?;
//!
//! // All of it, holes as holes.
//! let size = disk.size();
//! let file = std::fs::File::create(&copy).unwrap();
//! raw::write_sparse(disk.blocks(), size, file, &copy).await?;
//! # assert_eq!(std::fs::read(&copy).unwrap(), [7; 5000]);
//! # Ok::<_, xenkeep_disk::Error>(())
//! # }).unwrap();
//! ```

pub mod block;
pub mod buffers;
mod error;
mod feed;
pub mod qcow2;
pub mod raw;
mod source;
pub mod value;
pub mod vhd;
pub mod xva;

pub use block::{Block, Blocks, Data, DiskRead, Extent, Gapless, is_zero};
pub use error::Error;
