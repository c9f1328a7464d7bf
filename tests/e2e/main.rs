//! End to end: the programs as processes, looked at from outside.
#![allow(clippy::unwrap_used)]

mod kill;
mod movers;
mod pool_data;
mod queue;
mod restores;
mod servers;
mod tasks;
mod upkeep;
