//! Reading blobs: found through the index, opened, unpacked, and never given out before their hash was checked.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::crypto::{Key, NONCE_BYTES, SEAL_BYTES, TAG_BYTES};
use crate::id::Id;
use crate::index::{Index, Location};
use crate::pack::BlobKind;
use crate::store::{Name, Store};
use crate::tree::Tree;
use crate::{Error, Result, work};

/// Directories of ours are small; those of restic may hold a million files, but we need not read such.
const MAX_TREE_BYTES: u32 = 64 << 20;

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
        self.index.location(kind, id).ok_or_else(|| {
            let why = "no index file says where it is; if packs are complete, `restic repair index` finds it again";
            Error::damaged(format!("chunk {id}"), why)
        })
    }

    /// The sealed bytes of a run of a pack.
    pub(crate) async fn fetch(&self, pack: Id, offset: u32, len: usize) -> Result<BytesMut> {
        let name = Name::Pack(pack);
        let fetched = self.store.get_range(name, u64::from(offset), len).await;
        let sealed = fetched.map_err(|error| match error {
            Error::NotFound { .. } => Error::damaged(format!("pack {name}"), format!("it is missing; {REMEDY}")),
            Error::Damaged { why, .. } => Error::damaged(format!("pack {name}"), format!("{why}; {REMEDY}")),
            other => other,
        })?;
        Ok(Bytes::from(sealed).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..])))
    }

    /// Opens, unpacks and checks a blob on a worker thread.
    pub(crate) async fn open(&self, id: Id, location: Location, sealed: BytesMut) -> Result<Bytes> {
        let key = self.key.clone();
        work::run(move || open(&key, id, &location, sealed)).await?
    }

    /// A chunk that must have this length.
    pub(crate) async fn chunk(&self, id: Id, len: usize) -> Result<Bytes> {
        let location = self.locate(BlobKind::Data, &id)?;
        check_len(&id, &location, len)?;
        let sealed = self.fetch(location.pack, location.offset, location.sealed_len as usize).await?;
        self.open(id, location, sealed).await
    }

    pub(crate) async fn tree(&self, id: Id) -> Result<Tree> {
        let location = self.locate(BlobKind::Tree, &id)?;
        if location.len() > MAX_TREE_BYTES || location.sealed_len > MAX_TREE_BYTES {
            return Err(location.damaged(&id, "it is too large for a directory"));
        }
        let sealed = self.fetch(location.pack, location.offset, location.sealed_len as usize).await?;
        let json = self.open(id, location, sealed).await?;
        Tree::from_json(&json).map_err(|error| location.damaged(&id, &format!("it is no directory ({error})")))
    }
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

fn open(key: &Key, id: Id, location: &Location, mut sealed: BytesMut) -> Result<Bytes> {
    let text = key.open_in_place(&mut sealed).map_err(|_| location.damaged(&id, "its seal is broken"))?;
    let raw = match location.raw_len {
        None => {
            let end = sealed.len() - TAG_BYTES;
            sealed.freeze().slice(NONCE_BYTES..end)
        }
        Some(raw_len) => {
            let mut raw = Vec::with_capacity(raw_len as usize);
            let unpacked = work::with_scratch(|scratch| scratch.decompressor.decompress_to_buffer(text, &mut raw));
            unpacked.map_err(|error| location.damaged(&id, &format!("it cannot be unpacked ({error})")))?;
            Bytes::from(raw)
        }
    };
    if Id::of(&raw) != id {
        return Err(location.damaged(&id, "its content does not match its hash"));
    }
    Ok(raw)
}
