//! The calls that backup and restore need, thin and typed. Anything else goes through [`Pool::call`](crate::Pool::call).

mod host;
mod network;
mod record;
mod storage;
mod vm;

pub use host::Rights;
pub use network::NewVif;
pub use storage::{NewVbd, NewVdi};
