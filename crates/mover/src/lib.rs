//! Runs jobs: moves bytes between a pool and a datastore.
//!
//! A [`Mover`] takes jobs from whoever hands them out ([`Leases`]: the server in the same process, or over HTTPS), does
//! each with the secrets that came with it, tells how far it is once a second, and reports how it ended. What a job makes
//! on a pool it writes to the job's journal *before* it makes it (`journal.rs`), so that whoever comes next can undo it.
//!
//! *Not* here: when a job runs and how many at once a drive allows (`xenkeep-server`), how a pool is spoken to (`xapi`),
//! what lies in a datastore (`xenkeep-repo`), what a disk image looks like (`xenkeep-disk`).
//!
//! | room | what |
//! |---|---|
//! | `lease` `content` `remote` | where jobs come from, where their streams go: the crate's outside; the same over HTTPS |
//! | `fence` `addresses` | how long a job is still ours; which machine this is |
//! | `mover` `run` `work` | the loop; one job from lease to report; what is to be done for each kind |
//! | `context` `progress` `journal` | what every step is given |
//! | `session` `problem` `tag` `sr` | a pool for the time of one job; its errors, marks, storage |
//! | `backup` `restore` `export` `check` `inventory` `datastore` | the jobs |
//! | `metadata` `hosts` `streamed` `feed` | a pool's database, its hosts: points of one stream each |
//! | `forget` `prune` `verify` `copy` | the jobs that keep datastores in order |
//! | `undo` `recover` | taking away what was made: at the end, after a failure, after a death |

mod addresses;
mod backup;
mod check;
mod content;
mod context;
mod copy;
mod datastore;
mod export;
mod feed;
mod fence;
mod forget;
mod guests;
mod hooks;
mod hosts;
mod identity;
mod inventory;
mod journal;
mod keys;
mod lease;
mod metadata;
mod mover;
mod open;
mod point;
mod problem;
mod progress;
mod prune;
mod recover;
mod remote;
mod rescan;
mod restore;
mod run;
mod select;
mod session;
mod sr;
mod streamed;
mod tag;
mod undo;
mod verify;
mod work;

pub use content::{ContentSink, ReaderGone};
pub use lease::{LeaseError, Leases};
pub use mover::{Mover, MoverConfig};
pub use remote::{RemoteLeases, hello};
