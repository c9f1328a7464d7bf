//! Decides and answers: the queue, the leases, recovery after a crash, and the REST API on top of them.
//!
//! [`Server`] is a data directory that is locked, a catalogue that is open, an [`Engine`] and a listener. The engine
//! knows no HTTP: movers lease jobs from it (in this process, by its methods), and `rest` turns requests into calls
//! of it. Every answer that is not a success is an `application/problem+json` with a stable code.
//!
//! *Not* here: SQL (`xenkeep-catalog`), and anything that touches a pool or a datastore (`xenkeep-mover`). The server
//! never sees the bytes of a disk, except the one stream of an export that it hands through unread.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use xenkeep_server::{Server, ServerConfig};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let server = Server::start(ServerConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap())).await.unwrap();
//! assert!(server.url().starts_with("http://127.0.0.1:"));
//! assert!(dir.path().join("token").exists());
//! server.shutdown().await.unwrap();
//! # });
//! ```

mod auth;
mod config;
mod data_dir;
mod engine;
mod error;
mod notify;
mod rest;
mod server;
mod tls;

pub use config::{Limits, ServerConfig, Tls};
pub use engine::{Clock, ContentReader, ContentSender, Engine, Prepared, SystemClock};
pub use error::Error;
pub use rest::openapi_json;
pub use server::Server;
