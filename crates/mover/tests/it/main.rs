//! Whole jobs, in one process: the mover with leases in memory on one side, a simulated pool on the other.
#![allow(clippy::unwrap_used)]

mod backup;
mod checks;
mod clients;
mod consistency;
mod deaths;
mod desk;
mod export;
mod guest_script;
mod late;
mod looping;
mod options;
mod plans;
mod restore;
mod rig;
mod sources;
mod stores;
mod tap;
mod upkeep;
