//! The repository as its users see it, and as restic sees it.

#![allow(clippy::unwrap_used)]

mod copy;
mod damage;
mod disks;
mod files;
mod full;
mod judge;
mod keys;
mod killed;
#[path = "../../../../tests/peers/moto.rs"]
mod moto;
mod s3;
mod store;
mod together;
mod verify;
