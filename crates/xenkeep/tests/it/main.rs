//! The program as people run it: a server with its mover, every command, against a simulated pool.
#![allow(clippy::unwrap_used)]

mod complaints;
mod endings;
mod lab;
mod program;
mod server;
mod story;
