//! Client of a pool of XenServer or XCP-ng hosts: session, typed records, tasks, bulk streams.
//!
//! It speaks JSON-RPC to the pool master for calls, and plain HTTP/1.0 to whichever host answers for `/export`, `/import`
//! and their kin. It knows nothing of disks, of backups or of datastores: bytes of a stream are handed on unread.
//!
//! - [`Endpoint`] says where a pool is and how its certificate is judged; [`Pool`] is a logged-in session.
//! - [`record`] holds the records of XAPI's classes as far as backup needs them, [`refs`] the references between them.
//! - [`Task`] waits for what runs on the pool; [`Download`] and [`Upload`] are its bulk streams.
//! - [`Error`] tells apart what a caller can act on.
//!
//! ```no_run
//! use xapi::{Endpoint, Pool, Tls};
//!
//! # async fn run() -> Result<(), xapi::Error> {
//! let endpoint = Endpoint { address: "pool.example".into(), tls: Tls::FirstContact };
//! let pool = Pool::login(endpoint, "root", &"secret".to_string().into()).await?;
//! for (vm, record) in pool.find_vms("web-1").await? {
//!     println!("{} {vm}", record.uuid);
//! }
//! pool.logout().await;
//! # Ok(())
//! # }
//! ```

mod address;
mod calls;
mod channel;
mod connect;
mod error;
mod fingerprint;
mod login;
mod members;
mod options;
mod pool;
pub mod record;
pub mod refs;
mod result;
mod retry;
mod route;
mod rpc;
mod session;
mod stream;
mod task;
mod trust;

pub use address::{Address, Endpoint, Tls};
pub use calls::{NewVbd, NewVdi, NewVif, Rights};

pub use error::{Error, Result};
pub use fingerprint::{BadFingerprint, Fingerprint};
pub use options::{Options, Timeouts};
pub use pool::Pool;
pub use refs::{
    CertificateRef, HostMetricsRef, HostRef, NetworkRef, PbdRef, PifRef, PoolRef, Ref, SrRef, TaskRef, VbdRef, VdiRef,
    VifRef, VmGuestMetricsRef, VmMetricsRef, VmRef, VtpmRef,
};
pub use result::TaskResult;
pub use retry::{Backoff, retry};
pub use route::route;
pub use stream::{Compression, Download, Export, ExportMetadata, Import, ImportMetadata, Upload};
pub use task::Task;

/// Parameters of a call, in order: anything that serialises to JSON, references too.
///
/// ```
/// let vm = xapi::VmRef::from("OpaqueRef:1");
/// assert_eq!(xapi::params![vm, "name", true].len(), 3);
/// ```
#[macro_export]
macro_rules! params {
    () => { ::std::vec::Vec::<$crate::Json>::new() };
    ($($value:expr),+ $(,)?) => { ::std::vec![$($crate::json(&$value)),+] };
}

/// A JSON value, as [`params!`] makes them.
pub type Json = serde_json::Value;

/// Turns a parameter into JSON; [`params!`] calls it.
///
/// # Panics
/// When `value` can't be said in JSON (a map whose keys are no texts): an error of the caller, not of a peer.
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Json {
    serde_json::to_value(value).expect("a parameter of a call can be said in JSON")
}
