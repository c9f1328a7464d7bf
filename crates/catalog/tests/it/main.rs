//! The catalogue on real databases: the same suite on SQLite and on PostgreSQL, and what only one of them has.

#![allow(clippy::unwrap_used)]
// Twice the same files is what is wanted.
#![allow(clippy::duplicate_mod)]

#[path = "suite.rs"]
mod postgres;
#[path = "suite.rs"]
mod sqlite;

mod files;
mod opening;
mod servers;
