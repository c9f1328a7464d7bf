//! XVA: XenServer's archive of a whole VM, a tar stream of `ova.xml` and of the chunks of its disks.
//!
//! [`Reader`] takes such a stream apart as it arrives, [`Writer`] makes one, [`Ova`] is the description of the VM.
//! Format (xapi: `stream_vdi.ml`, `export.ml`, `tar_helpers.ml`): first `ova.xml`; then for each disk its chunks of
//! 1 MiB as `Ref:7/00000000`, each followed by its checksum as `Ref:7/00000000.xxhash` or `.checksum`; chunks of
//! zeros are left out, but for the first and the last; at the end two blocks of zeros. The stream may be compressed
//! as a whole.

use sha1::{Digest, Sha1};
use xxhash_rust::xxh64::xxh64;

mod header;
mod input;
mod ova;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use ova::{Object, Ova, OvaDisk};
pub use reader::{DiskBlock, GapRule, Reader};
pub use writer::{Writer, metadata};

/// Size of all chunks of a disk but the last.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Longest `ova.xml` that is read.
pub const MAX_OVA_BYTES: u64 = 32 << 20;

/// How each chunk is guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// XXH64 (`.xxhash`): since XenServer 8.1 and XCP-ng 8.1.
    #[default]
    Xxhash,
    /// SHA-1 (`.checksum`): what older hosts demand, and newer ones take too.
    Sha1,
}

impl Checksum {
    /// The text that stands in the file behind a chunk.
    fn of(self, bytes: &[u8]) -> String {
        match self {
            Checksum::Xxhash => format!("{:016X}", xxh64(bytes, 0)),
            Checksum::Sha1 => Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Checksum::Xxhash => ".xxhash",
            Checksum::Sha1 => ".checksum",
        }
    }
}
