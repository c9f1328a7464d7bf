//! Which blob lies where.
//!
//! The repository's index files are immutable; [`Index`] is what we make of them for looking things up. It lies in
//! memory. Everything that knows this is in this module: the rest sees [`Index::location`], [`Index::contains`],
//! [`Index::refresh`] and [`Index::write`].

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, RwLock};

use futures::{StreamExt, TryStreamExt, stream};

use crate::crypto::Key;
use crate::id::Id;
use crate::pack::{BlobKind, Entry};
use crate::store::{Name, Store};
use crate::{Error, Result, sealed, work};

mod file;
#[cfg(test)]
mod tests;

pub(crate) use file::IndexFile;
use file::{MAX_FILE_BYTES, MAX_JSON_BYTES};

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: Id,
    pub(crate) offset: u32,
    pub(crate) sealed_len: u32,
    /// Length before compression; `None` if it is stored as it is.
    pub(crate) raw_len: Option<u32>,
}

/// A pack that is stored, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackEntries {
    pub(crate) id: Id,
    pub(crate) entries: Vec<Entry>,
}

/// Ids are hashes already: their first bytes will do.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _len: usize) {}
}

pub(crate) type IdMap<V> = HashMap<Id, V, BuildHasherDefault<IdHasher>>;
pub(crate) type IdSet = HashSet<Id, BuildHasherDefault<IdHasher>>;

/// A [`Location`] in 16 bytes: packs are numbered.
#[derive(Clone, Copy)]
struct Slot {
    pack: u32,
    offset: u32,
    sealed_len: u32,
    /// Zero if stored as it is.
    raw_len: u32,
}

#[derive(Default)]
struct Maps {
    packs: Vec<Id>,
    data: IdMap<Slot>,
    trees: IdMap<Slot>,
    /// The index files that all this comes from.
    files: IdSet,
}

impl Maps {
    fn of(&self, kind: BlobKind) -> &IdMap<Slot> {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn add(&mut self, pack: &PackEntries) {
        let number = u32::try_from(self.packs.len()).expect("4 G packs are 128 PiB");
        self.packs.push(pack.id);
        for entry in &pack.entries {
            let map = match entry.kind {
                BlobKind::Data => &mut self.data,
                BlobKind::Tree => &mut self.trees,
            };
            let Entry { offset, sealed_len, raw_len, .. } = *entry;
            map.insert(entry.id, Slot { pack: number, offset, sealed_len, raw_len: raw_len.unwrap_or(0) });
        }
    }
}

/// All blobs that the repository's index files name.
pub(crate) struct Index {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    maps: RwLock<Maps>,
    /// One refresh or write at a time.
    changing: tokio::sync::Mutex<()>,
}

/// Index files that are read at once.
const LOADS_IN_FLIGHT: usize = 4;

impl Index {
    pub(crate) fn new(store: Arc<dyn Store>, key: Arc<Key>) -> Self {
        Index { store, key, maps: RwLock::default(), changing: tokio::sync::Mutex::default() }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Maps> {
        self.maps.read().expect("no panic while held")
    }

    fn change(&self) -> std::sync::RwLockWriteGuard<'_, Maps> {
        self.maps.write().expect("no panic while held")
    }

    pub(crate) fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        self.read().of(kind).contains_key(id)
    }

    pub(crate) fn location(&self, kind: BlobKind, id: &Id) -> Option<Location> {
        let maps = self.read();
        let slot = maps.of(kind).get(id)?;
        let pack = maps.packs[slot.pack as usize];
        let raw_len = (slot.raw_len > 0).then_some(slot.raw_len);
        Some(Location { pack, offset: slot.offset, sealed_len: slot.sealed_len, raw_len })
    }

    /// Takes in what others have written since. If index files have vanished (a prune), begins anew.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let listed: IdSet = self.store.list(Name::Index).await?.into_iter().map(|(id, _)| id).collect();
        let (new, vanished) = {
            let maps = self.read();
            let new: Vec<Id> = listed.difference(&maps.files).copied().collect();
            (new, !maps.files.is_subset(&listed))
        };
        if vanished {
            let all = listed.into_iter().collect();
            return self.load(all, Maps::default()).await.map(|maps| *self.change() = maps);
        }
        let added = self.load(new, Maps::default()).await?;
        let mut maps = self.change();
        if maps.files.is_empty() {
            *maps = added;
        } else {
            maps.append(added);
        }
        Ok(())
    }

    async fn load(&self, files: Vec<Id>, into: Maps) -> Result<Maps> {
        stream::iter(files)
            .map(|id| self.load_file(id))
            .buffer_unordered(LOADS_IN_FLIGHT)
            .try_fold(into, |mut maps, (id, packs)| async move {
                packs.iter().for_each(|pack| maps.add(pack));
                maps.files.insert(id);
                Ok(maps)
            })
            .await
    }

    async fn load_file(&self, id: Id) -> Result<(Id, Vec<PackEntries>)> {
        let name = Name::Index(id);
        let content = self.store.get(name, MAX_FILE_BYTES).await?;
        let key = self.key.clone();
        let packs = work::run(move || {
            let file: IndexFile = sealed::open(&key, name, &content, MAX_JSON_BYTES)?;
            file.check().map_err(|why| Error::damaged(name.to_string(), why))
        });
        Ok((id, packs.await??))
    }

    /// Writes an index file for packs that are durable, and knows them from then on.
    pub(crate) async fn write(&self, packs: Vec<PackEntries>) -> Result<()> {
        let _changing = self.changing.lock().await;
        let key = self.key.clone();
        let (id, content, packs) = work::run(move || {
            let (id, content) = sealed::seal(&key, &IndexFile::new(&packs));
            (id, content, packs)
        })
        .await?;
        self.store.put(Name::Index(id), content).await?;
        let mut maps = self.change();
        packs.iter().for_each(|pack| maps.add(pack));
        maps.files.insert(id);
        Ok(())
    }
}

impl Maps {
    fn append(&mut self, added: Maps) {
        let base = u32::try_from(self.packs.len()).expect("4 G packs are 128 PiB");
        self.packs.extend(added.packs);
        let moved = |(id, slot): (Id, Slot)| (id, Slot { pack: slot.pack + base, ..slot });
        self.data.extend(added.data.into_iter().map(moved));
        self.trees.extend(added.trees.into_iter().map(moved));
        self.files.extend(added.files);
    }
}
