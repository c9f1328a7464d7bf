//! The repository as its users see it, and as restic sees it.

#![allow(clippy::unwrap_used)]

mod copy;
mod damage;
mod disks;
mod full;
mod judge;
mod killed;
mod store;
mod together;
mod verify;
