//! Reading blobs: found through the index, opened, unpacked, and never given out before their hash was checked.

use std::io::Read as _;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::crypto::{Key, SEAL_BYTES};
use crate::damage::KnownDamage;
use crate::id::Id;
use crate::index::{IdSet, Index, Location};
use crate::pack::BlobKind;
use crate::store::{Name, Store};
use crate::tree::Tree;
use crate::{Error, Result, work};

/// Directories of ours are small; those of restic may hold a million files, but we need not read such.
pub(crate) const MAX_TREE_BYTES: u32 = 64 << 20;

/// What can be done about damage, in an error.
const REMEDY: &str = "check the medium, verify the repository (so that the next backup stores again what it reads again), \
                      copy the pack back from another copy of the repository, or use another restore point";

pub(crate) struct Blobs {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    index: Arc<Index>,
    damage: Arc<KnownDamage>,
    /// Packs that a prune is going to delete.
    avoided: RwLock<Arc<IdSet>>,
}

impl Location {
    /// Length of what is in there.
    pub(crate) fn len(&self) -> u32 {
        self.raw_len.unwrap_or(self.sealed_len.saturating_sub(SEAL_BYTES as u32))
    }

    pub(crate) fn damaged(&self, id: &Id, why: &str) -> Error {
        let what = format!("chunk {id} in pack {} at offset {}", Name::Pack(self.pack), self.offset);
        Error::damaged(what, format!("{why}; {REMEDY}"))
    }
}

impl Blobs {
    pub(crate) fn new(store: Arc<dyn Store>, key: Arc<Key>, index: Arc<Index>, damage: Arc<KnownDamage>) -> Self {
        Blobs { store, key, index, damage, avoided: RwLock::default() }
    }

    /// From now on, copies in other packs are preferred.
    pub(crate) fn avoid(&self, packs: IdSet) {
        *self.avoided.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(packs);
    }

    /// Where a copy of a blob lies, a good one if there is one, that is not going to be deleted if it can be.
    pub(crate) fn locate(&self, kind: BlobKind, id: &Id) -> Result<Location> {
        if self.damage.get().is_empty() && self.avoided().is_empty() {
            self.index.location(kind, id)?.ok_or_else(|| not_indexed(id))
        } else {
            Ok(self.copies(kind, id)?[0])
        }
    }

    fn avoided(&self) -> Arc<IdSet> {
        self.avoided.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where all copies of a blob lie, best first; one at least. Those that are known to be damaged come last: they may
    /// have been copied back.
    fn copies(&self, kind: BlobKind, id: &Id) -> Result<Vec<Location>> {
        let (damage, avoided) = (self.damage.get(), self.avoided());
        let mut copies = self.index.locations(kind, id)?;
        copies.sort_by_key(|copy| (damage.is_damaged(&copy.pack, id), avoided.contains(&copy.pack)));
        if copies.is_empty() { Err(not_indexed(id)) } else { Ok(copies) }
    }

    /// The sealed bytes of a run of a pack, in `buffer`.
    pub(crate) async fn fetch(&self, pack: Id, offset: u32, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        let name = Name::Pack(pack);
        let damaged = |why: &str| Error::damaged(format!("pack {name}"), format!("{why}; {REMEDY}"));
        match self.store.get_range(name, u64::from(offset), len, buffer).await {
            Ok(bytes) if bytes.len() == len => Ok(bytes),
            Ok(bytes) => Err(damaged(&format!("only {} bytes came of {len} at offset {offset}", bytes.len()))),
            Err(Error::NotFound { .. }) => Err(damaged("it is missing")),
            Err(Error::Damaged { why, .. }) => Err(damaged(&why)),
            other => other,
        }
    }

    pub(crate) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// A blob that is read alone, from a copy that is not damaged and that `check` lets pass. What is said of the first
    /// copy counts, if all are bad.
    async fn blob(&self, kind: BlobKind, id: Id, check: impl Fn(&Location) -> Result<()>) -> Result<(Location, Bytes)> {
        let first = self.locate(kind, &id)?;
        let error = match self.blob_at(id, first, &check).await {
            Err(error @ Error::Damaged { .. }) => error,
            done => return done,
        };
        for copy in self.copies(kind, &id)?.into_iter().filter(|copy| *copy != first) {
            if let Ok(found) = self.blob_at(id, copy, &check).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "another copy of a chunk was read");
                return Ok(found);
            }
        }
        Err(error)
    }

    async fn blob_at(
        &self,
        id: Id,
        location: Location,
        check: &impl Fn(&Location) -> Result<()>,
    ) -> Result<(Location, Bytes)> {
        check(&location)?;
        let len = location.sealed_len as usize;
        let mut sealed = self.fetch(location.pack, location.offset, len, Vec::new()).await?;
        let key = self.key.clone();
        work::run(move || {
            let mut raw = Vec::with_capacity(location.len() as usize);
            open(&key, &id, &location, &mut sealed, &mut raw)?;
            Ok((location, raw.into()))
        })
        .await?
    }

    /// A chunk that must have this length.
    pub(crate) async fn chunk(&self, id: Id, len: usize) -> Result<Bytes> {
        let (_, chunk) = self.blob(BlobKind::Data, id, |location| check_len(&id, location, len)).await?;
        Ok(chunk)
    }

    pub(crate) async fn tree(&self, id: Id) -> Result<Tree> {
        let check = |location: &Location| {
            if location.len() > MAX_TREE_BYTES || location.sealed_len > MAX_TREE_BYTES {
                return Err(location.damaged(&id, "it is too large for a directory"));
            }
            Ok(())
        };
        let (location, json) = self.blob(BlobKind::Tree, id, check).await?;
        parse_tree(&id, &location, &json)
    }
}

fn not_indexed(id: &Id) -> Error {
    let why = "no index file says where it is; if packs are complete, `restic repair index` finds it again";
    Error::damaged(format!("chunk {id}"), why)
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

/// Opens a blob, checks it as [`open`] does, and returns it as it was packed: compressed, if it is. `sealed` is spoiled.
///
/// Computes: call it on a worker thread.
pub(crate) fn open_packed<'a>(key: &Key, id: &Id, location: &Location, sealed: &'a mut [u8]) -> Result<&'a [u8]> {
    let text = key.open_in_place(sealed).map_err(|_| location.damaged(id, "its seal is broken"))?;
    check_text(id, location.raw_len, text).map_err(|why| location.damaged(id, &why))?;
    Ok(text)
}

/// Larger blobs are unpacked piece by piece to be checked.
const UNPACKED_AT_ONCE: u32 = 16 << 20;

/// Is this, unpacked, what the id says?
pub(crate) fn check_text(id: &Id, raw_len: Option<u32>, text: &[u8]) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("it cannot be unpacked ({error})");
    let (found, len) = match raw_len {
        None => (Id::of(text), text.len() as u64),
        Some(raw_len) if raw_len <= UNPACKED_AT_ONCE => work::with_scratch(|scratch| {
            scratch.raw.clear();
            scratch.raw.reserve_exact(raw_len as usize);
            scratch.decompressor.decompress_to_buffer(text, &mut scratch.raw).map_err(cannot)?;
            Ok::<_, String>((Id::of(&scratch.raw), scratch.raw.len() as u64))
        })?,
        Some(raw_len) => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(text).map_err(cannot)?;
            decoder.window_log_max(crate::sealed::MAX_WINDOW_LOG).map_err(cannot)?;
            Id::of_stream(decoder.take(u64::from(raw_len) + 1)).map_err(cannot)?
        }
    };
    if raw_len.is_some_and(|expected| u64::from(expected) != len) || found != *id {
        return Err("its content does not match its hash".to_owned());
    }
    Ok(())
}
