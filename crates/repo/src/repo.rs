use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use crate::{Counters, PointList, PointMeta, PointReader, PointWriter, Result, SnapshotId};

/// How a repository is made.
#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    /// Size of a chunk: a power of two from 128 KiB to 4 MiB.
    pub chunk_bytes: u32,
    /// How hard the password is to guess.
    pub kdf: Kdf,
}

impl Default for CreateOptions {
    fn default() -> Self {
        CreateOptions { chunk_bytes: 512 << 10, kdf: Kdf::default() }
    }
}

/// Parameters of scrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// Cost, a power of two.
    pub n: u32,
    /// Block size.
    pub r: u32,
    /// Parallelism.
    pub p: u32,
}

impl Default for Kdf {
    fn default() -> Self {
        Kdf { n: 1 << 15, r: 8, p: 5 }
    }
}

/// How a point is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Numbers of this backup, for whoever wants to watch.
    pub counters: Arc<Counters>,
}

/// An open repository. Clones are handles to the same one.
#[derive(Clone)]
pub struct Repo(());

impl Repo {
    /// Makes a repository in a directory that is empty or not there yet, with one password, and opens it.
    pub async fn create(_dir: &Path, _password: &SecretString, _options: CreateOptions) -> Result<Repo> {
        unimplemented!()
    }

    /// Opens a repository, with any of its passwords.
    pub async fn open(_dir: &Path, _password: &SecretString) -> Result<Repo> {
        unimplemented!()
    }

    /// Its id: 64 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        unimplemented!()
    }

    /// Size of its chunks.
    #[must_use]
    pub fn chunk_bytes(&self) -> u32 {
        unimplemented!()
    }

    /// Starts a new point.
    pub async fn begin(&self, _options: WriteOptions) -> Result<PointWriter> {
        unimplemented!()
    }

    /// Our points, oldest first. Snapshots of others are left out, damaged ones are logged; [`scan`](Self::scan) returns them.
    pub async fn points(&self) -> Result<Vec<PointMeta>> {
        unimplemented!()
    }

    /// Our points, and what could not be read.
    pub async fn scan(&self) -> Result<PointList> {
        unimplemented!()
    }

    /// The one point whose id begins with `prefix`.
    pub async fn find(&self, _prefix: &str) -> Result<PointMeta> {
        unimplemented!()
    }

    /// Opens a point for reading.
    pub async fn open_point(&self, _id: &SnapshotId) -> Result<PointReader> {
        unimplemented!()
    }

    /// Removes a point. Its chunks stay until a prune; other points are not touched.
    pub async fn remove_point(&self, _id: &SnapshotId) -> Result<()> {
        unimplemented!()
    }
}
