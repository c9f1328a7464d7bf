//! End to end: the programs as processes, looked at from outside.
#![allow(clippy::unwrap_used)]

mod kill;
mod movers;
mod tasks;
mod upkeep;
