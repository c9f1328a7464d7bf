//! Packs: many sealed blobs in one file, and behind them a sealed header that lists them.
//!
//! `blob … blob ‖ sealed header ‖ length of the sealed header (u32, little endian)`

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use crate::crypto::Key;
use crate::id::Id;

pub(crate) mod header;
#[cfg(test)]
mod tests;

pub(crate) use header::{pack_len, read_header};

/// A pack is closed once it has this many bytes.
pub(crate) const PACK_BYTES: usize = 32 << 20;

/// Packs of trees are small: few bytes are written to them between two points.
pub(crate) const TREE_PACK_BYTES: usize = 8 << 20;

/// No pack that we read from, and no blob in it, may be larger than its file can be in restic.
pub(crate) const MAX_PACK_BYTES: u32 = 1 << 30;
pub(crate) const MAX_BLOB_BYTES: u32 = 512 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlobKind {
    Data,
    Tree,
}

/// A blob within a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) kind: BlobKind,
    pub(crate) id: Id,
    pub(crate) offset: u32,
    /// Bytes in the pack, seal included.
    pub(crate) sealed_len: u32,
    /// Length before compression; `None` if it is stored as it is.
    pub(crate) raw_len: Option<u32>,
}

/// A pack that is being filled.
pub(crate) struct PackBuffer {
    bytes: BytesMut,
    entries: Vec<Entry>,
}

impl PackBuffer {
    pub(crate) fn new(mut bytes: BytesMut) -> Self {
        bytes.clear();
        PackBuffer { bytes, entries: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn add(&mut self, kind: BlobKind, id: Id, sealed: &[u8], raw_len: Option<u32>) {
        let offset = u32::try_from(self.bytes.len()).expect("packs are closed long before 4 GiB");
        let sealed_len = u32::try_from(sealed.len()).expect("blobs are shorter than 4 GiB");
        self.bytes.put_slice(sealed);
        self.entries.push(Entry { kind, id, offset, sealed_len, raw_len });
    }

    /// Appends the header. What comes back is the whole file and what is in it.
    pub(crate) fn close(mut self, key: &Key) -> (BytesMut, Vec<Entry>) {
        let header = key.seal(&header::of(&self.entries));
        self.bytes.put_slice(&header);
        self.bytes.put_u32_le(u32::try_from(header.len()).expect("a header is shorter than its pack"));
        (self.bytes, self.entries)
    }
}
