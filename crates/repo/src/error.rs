use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a repository.
///
/// Causes are shared, because the failure of one pack fails every point that is being written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no repository at this place.
    #[error("{location} holds no repository: {why}")]
    NotARepository {
        /// The place.
        location: String,
        /// What is missing, or what is there instead.
        why: String,
    },
    /// A repository is only created in a place that is empty, or not there yet.
    #[error("{location} is not empty")]
    NotEmpty {
        /// The place.
        location: String,
    },
    /// The repository has a format version that we don't know.
    #[error("the repository has format version {found}, only version 2 is supported")]
    UnsupportedVersion {
        /// The version it has.
        found: u32,
    },
    /// None of the repository's keys opens with this password.
    #[error("the password opens none of the keys of {location}")]
    WrongPassword {
        /// Where the repository lies.
        location: String,
    },
    /// Something in the repository is missing, cut off, or not what was written.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// Which file, and where it matters which part of it.
        what: String,
        /// What is wrong with it, and what can be done.
        why: String,
    },
    /// No space is left (or no quota) where the repository lies.
    #[error("no space is left at {}", path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The operating system refused something.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// What this machine keeps of the repository's index cannot be read. The repository itself is not concerned.
    #[error("the index at {} cannot be read; it is made anew with the next job", path.display())]
    IndexCache {
        /// The file.
        path: PathBuf,
        /// What the operating system said, or what is wrong with it.
        #[source]
        source: Arc<io::Error>,
    },
    /// The server of a store does not do what it is asked, and asking again changes nothing.
    #[error("{location} cannot be used: {refusal}")]
    Refused {
        /// The place.
        location: String,
        /// What is the matter.
        refusal: Refusal,
        /// What the server said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The server of a store could not be reached, or gave no good answer however often it was asked.
    #[error("{location} cannot be reached")]
    Unreachable {
        /// The place.
        location: String,
        /// What went wrong the last time.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Someone has locked the whole repository, such as a `restic prune`.
    #[error("the repository is locked by {by}")]
    Locked {
        /// Who holds the lock, as the lock file says.
        by: String,
    },
    /// Our lock has been lost, so that somebody else may have removed what we were about to use.
    #[error("the lock on the repository was lost")]
    LockLost,
    /// The password that the repository was opened with is not removed.
    #[error("key {id} is the one that is in use")]
    KeyInUse {
        /// The key.
        id: crate::KeyId,
    },
    /// The point is protected from removal.
    #[error("the restore point is protected: {reason}")]
    Protected {
        /// What whoever protected it has said.
        reason: String,
    },
    /// There is no such point, file or disk.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// More than one point begins like this.
    #[error("several points begin with {prefix}")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// The points that begin so.
        candidates: Vec<crate::SnapshotId>,
    },
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The blocks of a disk that was to be stored could not be read.
    #[error("the disk to be stored cannot be read")]
    Source(#[source] Arc<xenkeep_disk::Error>),
    /// A part of this crate stopped unexpectedly (a panic, a runtime that shuts down).
    #[error("work on the repository was broken off: {0}")]
    BrokenOff(&'static str),
}

/// Why a server does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such bucket.
    #[error("the server has no such bucket")]
    NoBucket,
    /// The access key may not do this.
    #[error("the access key has no right to do this")]
    Denied,
    /// The server does not know the access key.
    #[error("the server does not know the access key")]
    UnknownKey,
    /// The secret does not belong to the access key.
    #[error("the secret access key does not belong to the access key")]
    WrongSecret,
    /// The bucket lies in another region.
    #[error("the bucket lies in {}", expected.as_deref().map_or_else(|| "another region".to_owned(), |region| format!("region {region}")))]
    WrongRegion {
        /// Which one, if the server says so.
        expected: Option<String>,
    },
    /// Its clock and ours differ too much.
    #[error("its clock and the one of this machine differ by more than it allows")]
    ClockSkew,
    /// No TLS session, or its certificate is not trusted.
    #[error("its certificate is not trusted, or it speaks no TLS")]
    Tls,
    /// Something else, which the source tells.
    #[error("the server refuses")]
    Other,
}

impl Error {
    /// Is it worth to try again, with nothing changed? A foreign lock goes away by itself, and so does
    /// what keeps a server from answering.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Locked { .. } | Error::LockLost | Error::IndexCache { .. } | Error::Unreachable { .. } => true,
            Error::Source(cause) => cause.is_transient(),
            Error::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::TimedOut | io::ErrorKind::StaleNetworkFileHandle)
            }
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::Full { path, source: Arc::new(source) }
            }
            _ => Error::Io { path, source: Arc::new(source) },
        }
    }

    pub(crate) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Damaged { what: what.into(), why: why.into() }
    }
}

impl From<xenkeep_disk::Error> for Error {
    fn from(error: xenkeep_disk::Error) -> Self {
        Error::Source(Arc::new(error))
    }
}

impl From<Error> for xenkeep_disk::Error {
    fn from(error: Error) -> Self {
        xenkeep_disk::Error::source(error)
    }
}
