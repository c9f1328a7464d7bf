//! Whole jobs, in one process: the mover with leases in memory on one side, a simulated pool on the other.
#![allow(clippy::unwrap_used)]

mod desk;
mod looping;
