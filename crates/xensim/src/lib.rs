//! A simulated XenServer pool.
//!
//! It speaks XAPI: XML-RPC and JSON-RPC with all classes, tasks and events, and holds real disks with snapshots. Any
//! client of XenServer or XCP-ng may be pointed at it; nothing in here knows who asks.
//!
//! The rooms: [`model`] has the objects, `rpc` the wire and the dispatcher, `ops` what calls do, [`storage`] the bytes of
//! disks, [`fault`] what goes wrong on demand.

pub mod clock;
pub mod config;
mod control;
pub mod error;
pub mod fault;
pub mod guest;
mod http;
pub mod model;
pub mod ops;
pub mod rpc;
pub mod seed;
pub mod session;
mod sim;
pub mod storage;
pub mod task;
pub mod world;

pub use config::Config;
pub use sim::{Sim, StartError};

#[cfg(test)]
mod testing;
