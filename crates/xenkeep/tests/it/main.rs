//! The program as people run it: a server with its mover, every command, against a simulated pool.
#![allow(clippy::unwrap_used)]

mod complaints;
mod endings;
mod lab;
#[path = "../../../../tests/peers/moto.rs"]
mod moto;
mod program;
mod server;
mod stores;
mod story;
