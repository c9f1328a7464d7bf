use serde::{Deserialize, Serialize};

use super::PackEntries;
use crate::crypto::SEAL_BYTES;
use crate::id::Id;
use crate::pack::{BlobKind, Entry, MAX_BLOB_BYTES, MAX_PACK_BYTES};

/// restic closes an index file at 50 000 blobs, about 3 MiB; old ones may be larger.
pub(super) const MAX_FILE_BYTES: u64 = 128 << 20;
pub(super) const MAX_JSON_BYTES: u64 = 512 << 20;

/// An index file.
#[derive(Serialize, Deserialize)]
pub(crate) struct IndexFile {
    packs: Vec<PackJson>,
}

#[derive(Serialize, Deserialize)]
struct PackJson {
    id: Id,
    blobs: Vec<BlobJson>,
}

#[derive(Serialize, Deserialize)]
struct BlobJson {
    id: Id,
    #[serde(rename = "type")]
    kind: BlobKind,
    offset: u32,
    length: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uncompressed_length: Option<u32>,
}

impl IndexFile {
    pub(crate) fn new(packs: &[PackEntries]) -> Self {
        let blob = |entry: &Entry| BlobJson {
            id: entry.id,
            kind: entry.kind,
            offset: entry.offset,
            length: entry.sealed_len,
            uncompressed_length: entry.raw_len,
        };
        let pack = |pack: &PackEntries| PackJson { id: pack.id, blobs: pack.entries.iter().map(blob).collect() };
        IndexFile { packs: packs.iter().map(pack).collect() }
    }

    /// What it says, if that can be true.
    pub(crate) fn check(self) -> Result<Vec<PackEntries>, String> {
        let entry = |blob: BlobJson| {
            let end = blob.offset.checked_add(blob.length);
            let raw_len = blob.uncompressed_length.filter(|len| *len > 0);
            if blob.length < SEAL_BYTES as u32
                || end.is_none_or(|end| end > MAX_PACK_BYTES)
                || blob.length > MAX_BLOB_BYTES
                || raw_len.is_some_and(|len| len > MAX_BLOB_BYTES)
            {
                return Err(format!("it says something impossible about blob {}", blob.id));
            }
            Ok(Entry { kind: blob.kind, id: blob.id, offset: blob.offset, sealed_len: blob.length, raw_len })
        };
        let pack = |pack: PackJson| {
            let entries = pack.blobs.into_iter().map(entry).collect::<Result<_, String>>()?;
            Ok(PackEntries { id: pack.id, entries })
        };
        self.packs.into_iter().map(pack).collect()
    }
}
