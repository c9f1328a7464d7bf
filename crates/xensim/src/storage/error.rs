//! What can go wrong with a disk.

use std::io;

/// An operation on a disk or a storage repository did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage repository has no room left (`SR_BACKEND_FAILURE_44`).
    #[error("there is no space left on storage repository {sr}")]
    Full {
        /// Which storage repository, by uuid.
        sr: String,
    },
    /// There is no such disk.
    #[error("there is no disk {0}")]
    NoSuchDisk(String),
    /// There is no such storage repository.
    #[error("there is no storage repository {0}")]
    NoSuchSr(String),
    /// A disk of that name is there already.
    #[error("disk {0} exists")]
    DiskExists(String),
    /// The range does not lie within the disk.
    #[error("{len} bytes at {offset} lie outside a disk of {size} bytes")]
    OutOfRange {
        /// Where it would have begun.
        offset: u64,
        /// How long it would have been.
        len: u64,
        /// How big the disk is.
        size: u64,
    },
    /// A disk can't become smaller.
    #[error("a disk of {size} bytes can't shrink to {wanted}")]
    Shrink {
        /// How big the disk is.
        size: u64,
        /// How big it should be.
        wanted: u64,
    },
    /// The image could not be read.
    #[error("cannot read the image {path}")]
    Image {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file below failed.
    #[error("the storage file failed")]
    Io(#[from] io::Error),
}
