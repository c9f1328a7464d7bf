//! Which blob lies where.
//!
//! The repository's index files are immutable; [`Index`] is what we make of them for looking things up. Everything that
//! knows how is in this module.
//!
//! Packs are numbered, and a blob's place is told by a pack's number. A pack counts as long as an index file names it:
//! when index files vanish (a prune has written others in their place), packs that none of the others names are dead, and
//! what lies in them is not found any more. So taking in what has changed costs as much as the change.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::crypto::Key;
use crate::id::Id;
use crate::pack::{BlobKind, Entry};
use crate::store::{self, Name, Store};
use crate::{Error, Result, sealed, work};

mod file;
mod ids;
mod packs;
mod recent;
#[cfg(test)]
mod tests;

pub(crate) use file::IndexFile;
use file::{MAX_FILE_BYTES, MAX_JSON_BYTES};
pub(crate) use ids::{IdHasher, IdMap, IdSet};
use packs::Packs;
use recent::{Recent, Slot};

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

#[derive(Default)]
struct Tables {
    packs: Packs,
    recent: Recent,
}

/// All blobs that the repository's index files name.
pub(crate) struct Index {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    tables: RwLock<Tables>,
    /// One refresh or write at a time.
    changing: tokio::sync::Mutex<()>,
}

/// Index files as they are read.
type Files<'a> = BoxStream<'a, Result<(Id, Vec<PackEntries>)>>;

/// Index files that are read at once.
const LOADS_IN_FLIGHT: usize = 4;

/// How often the list is read again because a file of it has vanished before it was read.
const MAX_LISTINGS: usize = 5;

impl Index {
    pub(crate) fn new(store: Arc<dyn Store>, key: Arc<Key>) -> Self {
        Index { store, key, tables: RwLock::default(), changing: tokio::sync::Mutex::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().expect("no panic while held")
    }

    fn change(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().expect("no panic while held")
    }

    /// Is there a copy of this blob? Quick enough for the way of every chunk, but it may read a page of a file: hold no
    /// lock meanwhile that others wait for. An error never means "no".
    pub(crate) fn contains(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        Ok(self.location(kind, id)?.is_some())
    }

    /// Where a copy of this blob lies, if there is one.
    pub(crate) fn location(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        Ok(self.locations(kind, id)?.first().copied())
    }

    /// Where all copies of this blob lie. Each is in a pack that an index file names.
    pub(crate) fn locations(&self, kind: BlobKind, id: &Id) -> Result<Vec<Location>> {
        let tables = self.read();
        let mut found = Vec::new();
        for slot in tables.recent.of(id).filter(|slot| slot.kind() == kind) {
            let location = tables.packs.locate(slot);
            found.extend(location.filter(|location| !found.contains(location)));
        }
        Ok(found)
    }

    /// Takes in what others have written since, and lets go of what vanished.
    pub(crate) async fn refresh(&self) -> Result<()> {
        self.refresh_from(Index::files).await
    }

    /// The same, but goes on where index files are damaged: what they name is not found then.
    pub(crate) async fn refresh_readable(&self) -> Result<()> {
        self.refresh_from(Index::readable_files).await
    }

    async fn refresh_from<'a>(&'a self, read: impl Fn(&'a Self, Vec<Id>) -> Files<'a>) -> Result<()> {
        let _changing = self.changing.lock().await;
        for _ in 1..MAX_LISTINGS {
            match self.take_in_changes(&read).await {
                Err(Error::NotFound { .. }) => {} // a prune replaces index files while we read them
                done => return done,
            }
        }
        self.take_in_changes(&read).await
    }

    async fn take_in_changes<'a>(&'a self, read: &impl Fn(&'a Self, Vec<Id>) -> Files<'a>) -> Result<()> {
        let listed = store::list_settled(&*self.store, Name::Index).await?;
        let listed: IdSet = listed.into_iter().map(|(id, _)| id).collect();
        let (new, vanished) = self.read().packs.compare(&listed);
        // New ones first: what was only moved from one file to another is there all the time.
        let mut files = read(self, new);
        while let Some((id, packs)) = files.try_next().await? {
            self.change().add(id, &packs);
        }
        let mut tables = self.change();
        vanished.iter().for_each(|file| tables.packs.remove_file(file));
        Ok(())
    }

    /// Reads index files, several at once, in any order.
    fn files(&self, ids: Vec<Id>) -> Files<'_> {
        stream::iter(ids).map(|id| self.load_file(id)).buffer_unordered(LOADS_IN_FLIGHT).boxed()
    }

    fn readable_files(&self, ids: Vec<Id>) -> Files<'_> {
        let is_readable = |file: &Result<_>| {
            let damaged = matches!(file, Err(Error::Damaged { .. }));
            async move { !damaged }
        };
        self.files(ids).filter(is_readable).boxed()
    }

    pub(crate) async fn load_file(&self, id: Id) -> Result<(Id, Vec<PackEntries>)> {
        let name = Name::Index(id);
        let content = self.store.get(name, MAX_FILE_BYTES).await?;
        let key = self.key.clone();
        let packs = work::run(move || {
            let file: IndexFile = sealed::open(&key, name, &content, MAX_JSON_BYTES)?;
            file.check().map_err(|why| Error::damaged(name.to_string(), why))
        });
        Ok((id, packs.await??))
    }

    /// Reads all index files that are there now, and shows each pack with the index file that names it. Memory does not
    /// grow with their number. A pack may come more than once; the order is any. Stops at the first error.
    pub(crate) async fn for_each_pack(&self, mut visit: impl FnMut(&Id, PackEntries) -> Result<()>) -> Result<()> {
        let listed = self.store.list(Name::Index).await?.into_iter().map(|(id, _)| id).collect();
        let mut files = self.files(listed);
        while let Some((file, packs)) = files.try_next().await? {
            packs.into_iter().try_for_each(|pack| visit(&file, pack))?;
        }
        Ok(())
    }

    /// Writes an index file for packs that are durable, and knows them from then on. Returns the file's name.
    pub(crate) async fn write(&self, packs: Vec<PackEntries>) -> Result<Id> {
        let _changing = self.changing.lock().await;
        let key = self.key.clone();
        let (id, content, packs) = work::run(move || {
            let (id, content) = sealed::seal(&key, &IndexFile::new(&packs));
            (id, content, packs)
        })
        .await?;
        self.store.put(Name::Index(id), content).await?;
        self.change().add(id, &packs);
        Ok(id)
    }
}

impl Tables {
    fn add(&mut self, file: Id, packs: &[PackEntries]) {
        for (number, pack) in self.packs.add_file(file, packs) {
            for entry in &pack.entries {
                self.recent.add(entry.id, Slot::new(number, entry));
            }
        }
    }
}
