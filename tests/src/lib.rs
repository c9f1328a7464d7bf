//! What the end-to-end tests and the demo stand on: disk images with real file systems, a simulated pool and a
//! xenkeep server as real processes, and the command line as a person would type it.
//!
//! *Not* here: knowledge of XAPI or of the repository format; the programs are looked at from outside alone.

pub mod images;
mod lab;
mod mover;
pub mod network;
mod pool;
mod postgres;
mod process;
mod product;

pub use lab::Lab;
pub use mover::Mover;
pub use pool::{DeletedDisk, PASSWORD, Pool, PoolOptions, PoolVm};
pub use postgres::{Durability, Postgres};
pub use process::binary;
pub use product::{Outcome, Product};
