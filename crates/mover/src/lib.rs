//! Runs jobs: moves bytes between a pool and a datastore.
//!
//! A [`Mover`] takes jobs from whoever hands them out ([`Leases`]: the server in the same process, or over HTTPS), does
//! each with the secrets that came with it, tells how far it is once a second, and reports how it ended. What a job makes
//! on a pool it writes to the job's journal *before* it makes it ([`journal`]), so that whoever comes next can undo it.
//!
//! *Not* here: when a job runs and how many at once a drive allows (`xenkeep-server`), how a pool is spoken to (`xapi`),
//! what lies in a datastore (`xenkeep-repo`), what a disk image looks like (`xenkeep-disk`).

mod content;
mod context;
mod journal;
mod lease;
mod mover;

pub use content::{ContentSink, ReaderGone};
pub use lease::{LeaseError, Leases};
pub use mover::{Mover, MoverConfig};
