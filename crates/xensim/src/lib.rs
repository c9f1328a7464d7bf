//! A simulated XenServer pool.
//!
//! It speaks XAPI: XML-RPC and JSON-RPC with all classes, tasks and events, and holds real disks with snapshots. Any
//! client of XenServer or XCP-ng may be pointed at it; nothing in here knows who asks.
//!
//! The rooms: [`model`] has the objects, `rpc` the wire and the dispatcher, `ops` what calls do, [`storage`] the bytes of
//! disks, [`fault`] what goes wrong on demand, `http` the servers with export and import, `control` the endpoint for
//! tests. [`Sim`] is a pool that runs:
//!
//! ```no_run
//! use xensim::config::{Config, DiskConfig, VmConfig};
//!
//! # async fn run() -> Result<(), xensim::StartError> {
//! let vm = VmConfig::new("web").with_disk(DiskConfig::image("system.qcow2")).running();
//! let sim = xensim::Sim::start(Config::new("/tmp/pool").with_vm(vm)).await?;
//! println!("{} as root with password xensim", sim.http_url());
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod clock;
pub mod config;
mod control;
mod dom0;
pub mod error;
pub mod fault;
pub mod guest;
mod hosts;
mod http;
pub mod model;
pub mod ops;
pub mod roles;
pub mod rpc;
pub mod seed;
pub mod session;
mod sim;
pub mod storage;
pub mod task;
pub mod transfers;
pub mod world;

pub use config::Config;
pub use sim::{Sim, StartError};

#[cfg(test)]
mod testing;
