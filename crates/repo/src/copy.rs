//! Points into another repository.

use std::sync::Arc;
use std::time::Duration;

use crate::{Counters, Error, Repo, Result, SnapshotId};

/// How points are copied.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Numbers for whoever wants to watch: bytes of disks and files that have been accounted for, those that the target
    /// lacked, and what they take there.
    pub counters: Arc<Counters>,
    /// What has been copied is made findable this often, so that an interrupted copy goes on where it was.
    pub checkpoint: Duration,
}

impl Default for CopyOptions {
    fn default() -> Self {
        CopyOptions { counters: Arc::default(), checkpoint: Duration::from_secs(60) }
    }
}

/// What a copy has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The point in the target.
    pub id: SnapshotId,
    /// It was there already: nothing has been done.
    pub already_there: bool,
    /// Chunks and directories that the target lacked.
    pub chunks: u64,
    /// Bytes that were read of the source's packs for them.
    pub read_bytes: u64,
}

/// Copies points of one repository into another. What it has seen of one point it need not look at for the next.
pub struct Copier {
    _options: CopyOptions,
}

impl Repo {
    /// Gets ready to copy points into another repository, whose key may be another one but whose chunks must have the
    /// same size.
    pub async fn copier(&self, target: &Repo, options: CopyOptions) -> Result<Copier> {
        if self.chunk_bytes() != target.chunk_bytes() {
            return Err(Error::Invalid("the chunks of the two repositories have different sizes".to_owned()));
        }
        Ok(Copier { _options: options })
    }

    /// Copies one point into another repository; see [`copier`](Self::copier).
    pub async fn copy_point(&self, id: &SnapshotId, target: &Repo, options: CopyOptions) -> Result<CopyReport> {
        self.copier(target, options).await?.copy_point(id).await
    }
}

impl Copier {
    /// Copies a point: reads only what the target lacks. A point that has been copied before is left as it is.
    ///
    /// If something of it is damaged, this point fails, and others can still be copied. May be dropped at any time.
    pub async fn copy_point(&mut self, id: &SnapshotId) -> Result<CopyReport> {
        Err(Error::Invalid(format!("point {id} cannot be copied yet")))
    }
}
