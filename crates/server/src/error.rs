//! What can go wrong here, by what a caller can do about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use xenkeep_api::{JobId, Problem};
use xenkeep_catalog::Error as CatalogError;

/// Failure of the engine or of the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for makes no sense; say it differently.
    #[error("{}", .0.message)]
    Invalid(Problem),
    /// What was named is not there.
    #[error("{}", .0.message)]
    NotFound(Problem),
    /// The present state forbids it.
    #[error("{}", .0.message)]
    Conflict(Problem),
    /// Whoever asks will get nothing here, however often.
    #[error("{}", .0.message)]
    Refused(Problem),
    /// The job behind the request did not succeed.
    #[error("{}", .0.message)]
    JobFailed(Problem),
    /// Nobody came in time; asking again later may help.
    #[error("{}", .0.message)]
    Timeout(Problem),
    /// The mover's lease on the job is gone: what it says about the job counts no more.
    #[error("the lease on job {0} is lost")]
    LeaseLost(JobId),
    /// Nobody came to read the stream of an export.
    #[error("nobody came to read the stream of job {0}")]
    NoReader(JobId),
    /// The machine gave no random numbers.
    #[error("the machine gives no random numbers: {0}")]
    Random(String),
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The catalogue failed.
    #[error("the catalogue failed")]
    Catalog(#[source] CatalogError),
    /// Another server uses the data directory.
    #[error("another server is using {}", .path.display())]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory, or a file in it, can't be used.
    #[error("cannot use {}", .path.display())]
    DataDir {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// HTTPS can't be set up.
    #[error("cannot set up HTTPS: {0}")]
    Tls(String),
    /// Plain HTTP was demanded where others could listen in.
    #[error("{0} is not a loopback address: plain HTTP is refused there")]
    PlainOffLoopback(SocketAddr),
    /// The address can't be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::ShuttingDown => true,
            Self::Catalog(error) => error.is_transient(),
            _ => false,
        }
    }

    /// In a form that a program and a person can act on.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Invalid(problem)
            | Self::NotFound(problem)
            | Self::Conflict(problem)
            | Self::JobFailed(problem)
            | Self::Refused(problem)
            | Self::Timeout(problem) => problem.clone(),
            Self::LeaseLost(job) => Problem::new("job.lease_lost", self.to_string()).about(job.to_string()),
            Self::NoReader(job) => Problem::new("export.no_reader", self.to_string()).about(job.to_string()),
            Self::Random(_) => Problem::internal(self),
            Self::ShuttingDown => {
                Problem::new("server.shutting_down", self.to_string()).hint("ask again when the server is up")
            }
            Self::Catalog(error) => error.problem(),
            Self::DataDirInUse { path } => Problem::new("server.data_dir_in_use", self.to_string())
                .hint("stop the other server, or give this one a directory of its own with --data")
                .about(path.display().to_string()),
            Self::PlainOffLoopback(_) => Problem::new("server.plain_off_loopback", self.to_string())
                .hint("leave out the switch that turns HTTPS off, or listen on 127.0.0.1"),
            Self::Listen { .. } => Problem { code: "server.listen".to_owned(), ..Problem::internal(self) }
                .hint("choose another address or port with --listen"),
            Self::DataDir { path, .. } => Problem { code: "server.data_dir".to_owned(), ..Problem::internal(self) }
                .about(path.display().to_string()),
            Self::Tls(_) => Problem::new("server.tls", self.to_string())
                .hint("look at the files in the directory tls below the data directory"),
        }
    }
}

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound(problem) => Self::NotFound(problem),
            CatalogError::Ambiguous(problem) => Self::Invalid(problem),
            CatalogError::Exists(problem) | CatalogError::InUse(problem) => Self::Conflict(problem),
            CatalogError::LeaseLost(job) => Self::LeaseLost(job),
            error => Self::Catalog(error),
        }
    }
}
