//! Bulk streams: requests whose bodies hyper can't send or should not buffer. HTTP/1.0, one connection each, closed at the end.
//!
//! A 200 says only that the request was accepted. Whether it succeeded is said by its task, and by the format of the body.

mod database;
mod download;
mod head;
mod hosts;
mod metadata;
mod quiet;
mod request;
mod upload;

pub use download::{Compression, Download, Export};
pub use metadata::{ExportMetadata, ImportMetadata};
pub use upload::{Import, Upload};

pub(crate) use head::HEAD_BYTES_MAX;
