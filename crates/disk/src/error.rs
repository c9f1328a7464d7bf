use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong while a disk image is read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot access {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The stream that carries an image broke.
    #[error("the stream broke")]
    Stream(#[source] io::Error),
    /// The image ends before it is complete.
    #[error("the image ends too early, while reading {what}")]
    Truncated {
        /// What was being read.
        what: String,
    },
    /// A server that could not go on wrote an answer with an error into the middle of its stream.
    #[error("the sender gave up in mid-stream: {status}")]
    SenderFailed {
        /// Status line of that answer.
        status: String,
    },
    /// There is something behind the end of the image.
    #[error("there is more behind the end of the image")]
    Trailing,
    /// Data do not match the checksum that was sent with them.
    #[error("the checksum of {what} is wrong")]
    Checksum {
        /// The piece of the image.
        what: String,
    },
    /// The image breaks the rules of its format.
    #[error("the image is damaged: {0}")]
    Damaged(String),
    /// The image is well formed, but uses something that we don't read.
    #[error("the image cannot be read: {0}")]
    Unsupported(String),
    /// A limit that protects us against hostile images was reached.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How much would have been accepted.
        limit: u64,
    },
    /// Somebody read outside of the disk.
    #[error("{len} bytes at {offset} lie outside of the disk of {size} bytes")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Number of bytes asked for.
        len: u64,
        /// Size of the disk.
        size: u64,
    },
    /// A stream of blocks left a part of the disk out, went back, or went past the end.
    #[error("blocks do not follow each other: expected offset {expected}, found {found}")]
    Gap {
        /// Where the next block had to start.
        expected: u64,
        /// Where it did start (or the end of the disk).
        found: u64,
    },
    /// The source of a disk failed; for readers that other crates implement.
    #[error("the disk cannot be read")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Whoever made the blocks went away.
    #[error("reading was given up")]
    Abandoned,
}

impl Error {
    /// Wraps the error of a disk that is read elsewhere (a repository, a network).
    pub fn source(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Source(error.into())
    }

    /// Is it worth to try again? Only a broken stream may be better the next time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Stream(_) | Error::Truncated { .. } | Error::SenderFailed { .. })
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::File { path: path.to_owned(), source }
    }

    pub(crate) fn truncated(what: impl Into<String>) -> Self {
        Error::Truncated { what: what.into() }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Error::Damaged(what.into())
    }
}
