//! The deduplicating repository: restic's format, version 2, in a directory or on an S3 server.
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
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let temp = tempfile::tempdir().unwrap();
//! # let dir = temp.path().join("store");
//! use std::sync::Arc;
//!
//! use xenkeep_disk::{Block, DiskRead};
//! use xenkeep_repo::{CreateOptions, Meta, Repo, WriteOptions};
//!
//! let repo = Repo::create(&dir, &"secret".into(), CreateOptions::default()).await?;
//!
//! let writer = repo.begin(WriteOptions::default()).await?;
//! let mut disk = writer.disk_sink("0", 1 << 30)?;
//! disk.push(Block::bytes(0, "boot sector".into())).await?;
//! disk.push(Block::zero(11, (1 << 30) - 11)).await?;
//! disk.finish().await?;
//! writer.file("point.json", "{}".into()).await?;
//! let meta = Meta { host: "lab".into(), root: "/lab/some-uuid".into(), tags: vec![], time: jiff::Timestamp::now() };
//! let id = writer.commit(meta).await?;
//!
//! let disk = repo.open_point(&id).await?.disk("0").await?;
//! let mut buf = [0; 11];
//! disk.read_at(0, &mut buf).await?;
//! assert_eq!(&buf, b"boot sector");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod blob;
mod cache;
mod config;
mod copy;
mod counters;
mod crypto;
mod cut;
mod damage;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod index;
mod keyfile;
mod keys;
mod layout;
mod location;
mod lock;
mod machine;
mod pack;
mod point;
mod polynomial;
mod protect;
mod prune;
mod read;
mod relocate;
mod repo;
mod sealed;
mod session;
mod snapshot;
mod store;
#[doc(hidden)]
pub mod synthetic;
mod tree;
mod verify;
mod walk;
mod work;
mod write;

pub use copy::{Copier, CopyOptions, CopyReport};
pub use counters::Counters;
pub use error::{Error, Refusal, Result};
pub use id::SnapshotId;
pub use keyfile::Kdf;
pub use keys::{KeyId, KeyMeta};
pub use location::{Location, S3Location};
pub use point::{DamagedPoint, Meta, PointList, PointMeta};
pub use protect::Protection;
pub use prune::{
    PackClass, PackTotals, PruneOptions, PruneProgress, PruneReport, PruneStep, Waiting, WaitingReason, Why,
};
pub use read::{DiskReader, FileReader, PointReader};
pub use repo::{CreateOptions, OpenOptions, Repo, WriteOptions};
pub use verify::{
    AffectedPoint, DamagedFile, Depth, FileKind, UndecidedFile, VerifyOptions, VerifyProgress, VerifyReport,
};
pub use write::{DiskSink, DiskTree, FileSink, PointWriter};
