//! Packs: many sealed blobs in one file, and behind them a sealed header that lists them.
//!
//! `blob … blob ‖ sealed header ‖ length of the sealed header (u32, little endian)`

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use crate::crypto::{Key, SEAL_BYTES};
use crate::id::Id;

#[cfg(test)]
mod tests;

/// A pack is closed once it has this many bytes.
pub(crate) const PACK_BYTES: usize = 32 << 20;

/// Packs of trees are small: few bytes are written to them between two points.
pub(crate) const TREE_PACK_BYTES: usize = 8 << 20;

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
        let header = key.seal(&header(&self.entries));
        self.bytes.put_slice(&header);
        self.bytes.put_u32_le(u32::try_from(header.len()).expect("a header is shorter than its pack"));
        (self.bytes, self.entries)
    }
}

/// Bytes of a header's entry, without and with a length before compression.
const PLAIN_ENTRY_BYTES: u64 = 37;
const ENTRY_BYTES: u64 = 41;

/// How long the file of a pack is that holds just these blobs.
pub(crate) fn file_len(entries: &[Entry]) -> u64 {
    let entry = |entry: &Entry| {
        u64::from(entry.sealed_len) + if entry.raw_len.is_some() { ENTRY_BYTES } else { PLAIN_ENTRY_BYTES }
    };
    entries.iter().map(entry).sum::<u64>() + SEAL_BYTES as u64 + 4
}

/// What the header of a pack says is in it. It must account for every byte of the file.
pub(crate) fn entries(key: &Key, file: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let cut = "it is too short for its header";
    let (rest, len) = file.split_last_chunk().ok_or(cut)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (blobs, sealed) = rest.split_at_checked(rest.len().wrapping_sub(len)).ok_or(cut)?;
    let mut sealed = sealed.to_vec();
    let header = key.open_in_place(&mut sealed).map_err(|_| "the seal of its header is broken")?;
    let entries = parse(header).ok_or("its header is not understood")?;
    let end = entries.last().map_or(0, |entry| u64::from(entry.offset) + u64::from(entry.sealed_len));
    if end == blobs.len() as u64 { Ok(entries) } else { Err("its header does not account for all of its bytes") }
}

fn parse(mut header: &[u8]) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::with_capacity(header.len() / ENTRY_BYTES as usize);
    let mut offset = 0_u32;
    while !header.is_empty() {
        let (&[number], rest) = header.split_first_chunk()?;
        let (sealed_len, rest) = rest.split_first_chunk()?;
        let sealed_len = u32::from_le_bytes(*sealed_len);
        let kind = match number {
            0 | 2 => BlobKind::Data,
            1 | 3 => BlobKind::Tree,
            _ => return None,
        };
        let (raw_len, rest) = if number < 2 {
            (None, rest)
        } else {
            let (raw_len, rest) = rest.split_first_chunk()?;
            (Some(u32::from_le_bytes(*raw_len)), rest)
        };
        let (id, rest) = rest.split_first_chunk()?;
        entries.push(Entry { kind, id: Id::from_bytes(*id), offset, sealed_len, raw_len });
        offset = offset.checked_add(sealed_len)?;
        header = rest;
    }
    Some(entries)
}

fn header(entries: &[Entry]) -> Vec<u8> {
    let mut header = Vec::with_capacity(entries.len() * 41);
    for entry in entries {
        header.put_u8(match (entry.kind, entry.raw_len) {
            (BlobKind::Data, None) => 0,
            (BlobKind::Tree, None) => 1,
            (BlobKind::Data, Some(_)) => 2,
            (BlobKind::Tree, Some(_)) => 3,
        });
        header.put_u32_le(entry.sealed_len);
        if let Some(raw_len) = entry.raw_len {
            header.put_u32_le(raw_len);
        }
        header.put_slice(entry.id.as_bytes());
    }
    header
}
