//! The simulator as its clients see it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod binary;
mod control;
mod export;
mod faults;
mod import;
mod judge;
mod metadata;
mod pool;
mod sdk;
mod wire;
