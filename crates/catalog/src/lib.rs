//! The database: what there is and what has happened.
//!
//! One SQLite file in WAL mode, every commit flushed to disk; queries are plain async functions on [`Catalog`], a file
//! a noun, and speak in the types of `xenkeep-api`. SQL is written in this crate alone, with `$1` placeholders, text
//! uuids, integer milliseconds and JSON text, so that the same queries will serve PostgreSQL.
//!
//! Passwords, repository keys and the journal are sealed ([AES-256-GCM](Sealer)) under a key file that lies beside the
//! database, never in it; they leave only in [`LeasedJob`](xenkeep_api::LeasedJob), for the mover of the job that needs
//! them.
//!
//! *Not* here: what may run when, or what to do after a failure. Where such a decision must be made inside a
//! transaction, it is handed in as a closure ([`Catalog::claim`], [`Catalog::finish`]).
//!
//! | what | how it is kept safe |
//! |---|---|
//! | two movers on one job | a lease: state, fence and expiry change in one `BEGIN IMMEDIATE` transaction |
//! | a mover that comes back late | each of its writes names its fence; an old one changes no row |
//! | a backup that finished | its restore point is inserted in the transaction that ends the job |
//! | an entry of the journal | on disk (`synchronous=FULL`) before [`Catalog::journal_write`] returns |
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let dir = tempfile::tempdir().unwrap();
//! let catalog = xenkeep_catalog::Catalog::open(dir.path()).await.unwrap();
//! assert!(catalog.clients().await.unwrap().is_empty());
//! catalog.close().await;
//! # });
//! ```

mod claims;
mod clients;
mod datastores;
mod db;
mod drives;
mod error;
mod finish;
mod groups;
mod jobs;
mod journal;
mod key;
mod log;
mod migrations;
mod movers;
mod names;
mod points;
mod queue;
mod reports;
mod schedules;
mod sealing;
mod summaries;
mod tasks;
mod tokens;
mod words;

pub use claims::Claimed;
pub use db::Catalog;
pub use error::Error;
pub use finish::{Ended, FollowUps, Kept};
pub use jobs::{JobFilter, NewJob};
pub use movers::{ClientReach, DatastoreReach, StoredMover};
pub use points::PointQuery;
pub use queue::{QueueEntry, Rules, Standing, Verdict, WHOLE_POOL};
pub use reports::{Delivery, DestinationKind, NewReport};
pub use schedules::{DueSchedule, NewStart, PendingStart};
pub use sealing::Sealer;
pub use summaries::LastBackup;
