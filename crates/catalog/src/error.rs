//! What can go wrong with the database, by what a caller can do about it.

use std::path::PathBuf;

use xenkeep_api::{JobId, Problem};

/// Failure of the catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing bears the name or id.
    #[error("{}", .0.message)]
    NotFound(Problem),
    /// Several things bear the beginning of an id.
    #[error("{}", .0.message)]
    Ambiguous(Problem),
    /// The name or path is taken.
    #[error("{}", .0.message)]
    Exists(Problem),
    /// It can't be removed while something needs it.
    #[error("{}", .0.message)]
    InUse(Problem),
    /// The lease on the job has gone to somebody else, or the job has ended.
    #[error("the lease on job {0} is lost")]
    LeaseLost(JobId),
    /// What a mover says doesn't fit its job.
    #[error("job {job}: {what}")]
    Contradiction {
        /// The job.
        job: JobId,
        /// What doesn't fit.
        what: String,
    },
    /// A secret can't be opened: it was sealed under another key, or for another row, or is damaged.
    #[error("the secret {0} can't be opened")]
    Sealed(String),
    /// The key file is not the one under which this database was sealed.
    #[error("{} is not the key of this database", .0.display())]
    WrongKey(PathBuf),
    /// The database has sealed secrets, but its key file is gone.
    #[error("the key file {} is missing", .0.display())]
    KeyMissing(PathBuf),
    /// The key file can be read by others.
    #[error("the key file {} can be read by others (mode {mode:o})", .path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file holds something else.
    #[error("{} is not a key file", .0.display())]
    KeyMalformed(PathBuf),
    /// A file can't be read or written.
    #[error("cannot use {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A row holds something that this version doesn't understand.
    #[error("cannot read {what} from the database")]
    Damaged {
        /// Table, row and column.
        what: String,
        /// Why, if a parser said so.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The tables can't be brought up to date.
    #[error("cannot bring the database up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The address of the database is none of a PostgreSQL server. It may hold a password: it is not repeated.
    #[error("the address of the database is not of the form postgres://user:password@host/database")]
    DatabaseUrl,
    /// The database itself failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// The same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            // PostgreSQL: connections, resources, an operator, a lock that was not had in time.
            Self::Database(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| ["08", "40", "53", "55", "57"].iter().any(|class| code.starts_with(class))),
            _ => false,
        }
    }

    /// In a form that a program and a person can act on.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound(problem) | Self::Ambiguous(problem) | Self::Exists(problem) | Self::InUse(problem) => {
                problem.clone()
            }
            Self::LeaseLost(job) => Problem::new("job.lease_lost", self.to_string()).about(job.to_string()),
            Self::Contradiction { job, .. } => {
                Problem::new("job.contradiction", self.to_string()).about(job.to_string())
            }
            Self::Sealed(what) => Problem::new("catalog.sealed", self.to_string())
                .hint("restore the database together with its key file")
                .about(what.clone()),
            Self::WrongKey(path) | Self::KeyMissing(path) | Self::KeyMalformed(path) => {
                Problem::new("catalog.key", self.to_string())
                    .hint(
                        "put back the key file that belongs to this database; without it no password in it can be read",
                    )
                    .about(path.display().to_string())
            }
            Self::KeyExposed { path, .. } => Problem::new("catalog.key_exposed", self.to_string())
                .hint(format!("chmod 600 {}", path.display()))
                .about(path.display().to_string()),
            Self::File { path, .. } => {
                Problem { code: "catalog.file".to_owned(), ..Problem::internal(self) }.about(path.display().to_string())
            }
            Self::DatabaseUrl => Problem::new("catalog.database_url", self.to_string())
                .hint("look at what --database-url-file or XENKEEP_DATABASE_URL says"),
            Self::Damaged { .. } | Self::Migration(_) | Self::Database(_) => {
                Problem { code: "catalog.failed".to_owned(), ..Problem::internal(self) }
            }
        }
    }
}
