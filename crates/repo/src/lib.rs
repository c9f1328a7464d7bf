//! The deduplicating repository: restic's format, version 2, in a local directory.
//!
//! A [`Repo`] holds restore points. A [`PointWriter`] writes one: disks as streams of blocks, cut into chunks of a
//! fixed size, each stored once in the repository however often it occurs; and small files beside them. Nothing of a
//! point is listed before all of it is durable. A [`PointReader`] gives the files and disks back; every byte has been
//! checked against its hash when it leaves here.
//!
//! Everything that is written can be read, checked and pruned with `restic` (0.14 or later); `docs/repository.md`
//! describes what is written, exactly.
//!
//! This crate knows no pool and no catalogue, and it decides nothing: what to keep, what to remove, when to run.

mod counters;
mod error;
mod id;
mod point;
mod read;
mod repo;
mod write;

pub use counters::Counters;
pub use error::{Error, Result};
pub use id::SnapshotId;
pub use point::{DamagedPoint, Meta, PointList, PointMeta};
pub use read::{DiskReader, PointReader};
pub use repo::{CreateOptions, Kdf, Repo, WriteOptions};
pub use write::{DiskSink, DiskTree, PointWriter};
