//! Where the files of a repository lie.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::Id;
use crate::{Location, Result};

#[cfg(test)]
mod conformance;
mod delayed;
mod directory;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod flawed;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
#[path = "../../../tests/peers/moto.rs"]
pub(crate) mod moto;
mod patience;
mod s3;
#[cfg(test)]
mod tests;

pub(crate) use delayed::Delayed;
pub(crate) use directory::Directory;
use patience::{Patience, Patient};
use s3::S3;

/// The store at a place. Nothing is asked of it yet.
pub(crate) fn open(location: &Location) -> Result<Arc<dyn Store>> {
    match location {
        Location::Directory(dir) => Ok(Patient::over(Arc::new(Directory::new(dir)), Patience::default())),
        Location::S3(s3) => Ok(Patient::over(Arc::new(S3::new(s3)?), Patience::default())),
    }
}

/// A file of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Config,
    Key(Id),
    Lock(Id),
    Index(Id),
    Snapshot(Id),
    Pack(Id),
    /// Packs that a prune is going to delete.
    Mark(Id),
    /// A point that was removed while somebody may still have been using it.
    Forgotten(Id),
    /// What a verification found to be damaged.
    Damage(Id),
    /// When packs were verified.
    Verified(Id),
    /// A point that nobody may remove, and why.
    Protection(Id),
}

impl Name {
    /// The hash of the content, for all files that are called so.
    pub(crate) fn id(&self) -> Option<Id> {
        match self {
            Name::Config => None,
            Name::Key(id)
            | Name::Lock(id)
            | Name::Index(id)
            | Name::Snapshot(id)
            | Name::Pack(id)
            | Name::Mark(id)
            | Name::Forgotten(id)
            | Name::Damage(id)
            | Name::Verified(id)
            | Name::Protection(id) => Some(*id),
        }
    }

    /// Does only xenkeep have such files? Their directories are made when they are needed.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Name::Mark(_) | Name::Forgotten(_) | Name::Damage(_) | Name::Verified(_) | Name::Protection(_))
    }
}

/// Kinds of files that can be listed. As functions of an id, they are the constructors of [`Name`].
pub(crate) type Kind = fn(Id) -> Name;

impl fmt::Display for Name {
    /// The path within the repository.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Config => f.write_str("config"),
            Name::Key(id) => write!(f, "keys/{id}"),
            Name::Lock(id) => write!(f, "locks/{id}"),
            Name::Index(id) => write!(f, "index/{id}"),
            Name::Snapshot(id) => write!(f, "snapshots/{id}"),
            Name::Pack(id) => {
                write!(f, "data/{}/{id}", hex::encode(&id.as_bytes()[..1]))
            }
            Name::Mark(id) => write!(f, "xenkeep/marks/{id}"),
            Name::Forgotten(id) => write!(f, "xenkeep/forgotten/{id}"),
            Name::Damage(id) => write!(f, "xenkeep/damage/{id}"),
            Name::Verified(id) => write!(f, "xenkeep/verified/{id}"),
            Name::Protection(id) => write!(f, "xenkeep/protected/{id}"),
        }
    }
}

/// Files that are written once and never changed. What is written is durable, and complete or not there at all.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Gets an empty place ready for a new repository. One in which a death left no more than the beginnings of a
    /// repository counts as empty; any other is refused, and stays as it is. What the administrator should know about
    /// the place comes back in sentences.
    async fn prepare(&self) -> Result<Vec<String>>;

    /// Removes what a crash left behind, as far as that is possible.
    async fn sweep(&self);

    /// Writes a file. When this returns, it survives a power failure, and has the length that was asked for.
    async fn put(&self, name: Name, content: Bytes) -> Result<()>;

    /// Reads a file, which is damaged if it is longer than `max_bytes`.
    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes>;

    /// Reads a part of a file, which is damaged if it is too short for that. What comes back is `buffer`, filled.
    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>>;

    /// Length of a file; nothing if it isn't there.
    async fn len(&self, name: Name) -> Result<Option<u64>>;

    /// Ids and lengths of all files of a kind. Files with other names are left out.
    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>>;

    /// Removes a file; it is no error if it isn't there.
    async fn remove(&self, name: Name) -> Result<()>;

    /// The same, where nobody can wait.
    fn remove_now(&self, name: Name);
}

/// How often a list is read again while it changes.
const MAX_LISTINGS: usize = 50;

/// Lists files that others may replace meanwhile: a new one is written, and then the old one removed. A list that is
/// read while that happens may show neither of them; two that are equal miss nothing.
pub(crate) async fn list_settled(store: &dyn Store, kind: Kind) -> Result<Vec<(Id, u64)>> {
    let mut before = store.list(kind).await?;
    before.sort_unstable();
    for _ in 0..MAX_LISTINGS {
        let mut now = store.list(kind).await?;
        now.sort_unstable();
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(crate::Error::BrokenOff("a list of files in the repository changes all the time"))
}
