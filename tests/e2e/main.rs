//! End to end: the programs as processes, looked at from outside.
#![allow(clippy::unwrap_used)]

mod kill;
mod tasks;
mod upkeep;
