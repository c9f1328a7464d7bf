//! Reading blobs: found through the index, opened, unpacked, and never given out before their hash was checked.

use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::{Key, SEAL_BYTES};
use crate::id::Id;
use crate::index::{Index, Location};
use crate::pack::BlobKind;
use crate::store::{Name, Store};
use crate::tree::Tree;
use crate::{Error, Result, work};

/// Directories of ours are small; those of restic may hold a million files, but we need not read such.
pub(crate) const MAX_TREE_BYTES: u32 = 64 << 20;

/// What can be done about damage, in an error.
const REMEDY: &str =
    "check the medium, copy the pack back from another copy of the repository, or use another restore point";

pub(crate) struct Blobs {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    index: Arc<Index>,
}

impl Location {
    /// Length of what is in there.
    pub(crate) fn len(&self) -> u32 {
        self.raw_len.unwrap_or(self.sealed_len.saturating_sub(SEAL_BYTES as u32))
    }

    fn damaged(&self, id: &Id, why: &str) -> Error {
        let what = format!("chunk {id} in pack {} at offset {}", Name::Pack(self.pack), self.offset);
        Error::damaged(what, format!("{why}; {REMEDY}"))
    }
}

impl Blobs {
    pub(crate) fn new(store: Arc<dyn Store>, key: Arc<Key>, index: Arc<Index>) -> Self {
        Blobs { store, key, index }
    }

    pub(crate) fn locate(&self, kind: BlobKind, id: &Id) -> Result<Location> {
        self.index.location(kind, id)?.ok_or_else(|| {
            let why = "no index file says where it is; if packs are complete, `restic repair index` finds it again";
            Error::damaged(format!("chunk {id}"), why)
        })
    }

    /// The sealed bytes of a run of a pack, in `buffer`.
    pub(crate) async fn fetch(&self, pack: Id, offset: u32, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        let name = Name::Pack(pack);
        let fetched = self.store.get_range(name, u64::from(offset), len, buffer).await;
        fetched.map_err(|error| match error {
            Error::NotFound { .. } => Error::damaged(format!("pack {name}"), format!("it is missing; {REMEDY}")),
            Error::Damaged { why, .. } => Error::damaged(format!("pack {name}"), format!("{why}; {REMEDY}")),
            other => other,
        })
    }

    pub(crate) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// A blob that is read alone.
    async fn blob(&self, id: Id, location: Location) -> Result<Bytes> {
        let len = location.sealed_len as usize;
        let mut sealed = self.fetch(location.pack, location.offset, len, Vec::new()).await?;
        let key = self.key.clone();
        work::run(move || {
            let mut raw = Vec::with_capacity(location.len() as usize);
            open(&key, &id, &location, &mut sealed, &mut raw)?;
            Ok(raw.into())
        })
        .await?
    }

    /// A chunk that must have this length.
    pub(crate) async fn chunk(&self, id: Id, len: usize) -> Result<Bytes> {
        let location = self.locate(BlobKind::Data, &id)?;
        check_len(&id, &location, len)?;
        self.blob(id, location).await
    }

    pub(crate) async fn tree(&self, id: Id) -> Result<Tree> {
        let location = self.locate(BlobKind::Tree, &id)?;
        if location.len() > MAX_TREE_BYTES || location.sealed_len > MAX_TREE_BYTES {
            return Err(location.damaged(&id, "it is too large for a directory"));
        }
        let json = self.blob(id, location).await?;
        parse_tree(&id, &location, &json)
    }
}

pub(crate) fn parse_tree(id: &Id, location: &Location, json: &[u8]) -> Result<Tree> {
    Tree::from_json(json).map_err(|error| location.damaged(id, &format!("it is no directory ({error})")))
}

/// Does the index agree with the map of the disk on a chunk's length? If so, memory is bounded by the chunk size.
pub(crate) fn check_len(id: &Id, location: &Location, len: usize) -> Result<()> {
    let most = len + SEAL_BYTES;
    if location.len() as usize == len
        && location.sealed_len as usize <= most.max(zstd::zstd_safe::compress_bound(len) + SEAL_BYTES)
    {
        return Ok(());
    }
    Err(location.damaged(id, &format!("it should have {len} bytes, not {}", location.len())))
}

/// Opens, unpacks and checks a blob. It goes to `raw`, which is empty and has room for it; `sealed` is spoiled.
///
/// Computes: call it on a worker thread.
pub(crate) fn open(key: &Key, id: &Id, location: &Location, sealed: &mut [u8], raw: &mut Vec<u8>) -> Result<()> {
    let text = key.open_in_place(sealed).map_err(|_| location.damaged(id, "its seal is broken"))?;
    if location.raw_len.is_some() {
        let unpacked = work::with_scratch(|scratch| scratch.decompressor.decompress_to_buffer(text, raw));
        unpacked.map_err(|error| location.damaged(id, &format!("it cannot be unpacked ({error})")))?;
    } else {
        raw.extend_from_slice(text);
    }
    if raw.len() != location.len() as usize || Id::of(raw) != *id {
        return Err(location.damaged(id, "its content does not match its hash"));
    }
    Ok(())
}
