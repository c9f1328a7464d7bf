//! Which blob lies where.
//!
//! The repository's index files are immutable; [`Index`] is what we make of them for looking things up. Everything that
//! knows how is in this module.
//!
//! It lies on this machine's disk, in sorted files that are never changed (`run`), as in a log-structured tree: what comes
//! in is kept in memory ([`recent`]) until it is much, and then written as a new run, merged with runs that are not much
//! larger (`keeper`). There is no journal: what was still in memory when a process ended is read again from the
//! repository. A look-up asks a filter in memory for each run, and reads one page of 4 KiB of a run that has the blob. Memory:
//! about 4 bytes a blob. `docs/decisions/0003-index-on-disk.md` says why so.
//!
//! Packs are numbered, and a blob's place is told by a pack's number. A pack counts as long as an index file names it:
//! when index files vanish (a prune has written others in their place), packs that none of the others names are dead, and
//! what lies in them is not found any more. So taking in what has changed costs as much as the change.

use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockWriteGuard};

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::crypto::Key;
use crate::id::Id;
use crate::pack::{BlobKind, Entry};
use crate::sealed::Room;
use crate::store::{self, Name, Store};
use crate::{Error, Result, sealed, work};

mod cache;
mod file;
mod filter;
mod ids;
mod keeper;
mod merge;
mod packs;
mod recent;
mod run;
mod state;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use file::IndexFile;
use file::{MAX_FILE_BYTES, MAX_JSON_BYTES};
pub(crate) use ids::{IdHasher, IdMap, IdSet};
use keeper::{Keeper, Limits, Merging};
use tables::{BrokenRun, Tables, Wanted};

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

/// All blobs that the repository's index files name.
pub(crate) struct Index {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    tables: Arc<RwLock<Tables>>,
    /// One refresh or write at a time: whoever holds this is the only one who changes the tables.
    keeper: tokio::sync::Mutex<Keeper>,
    /// A run could not be read: all is to be made anew.
    broken: AtomicBool,
    /// An index file takes ten times its size while it is unpacked: one at a time.
    unpacking: Arc<tokio::sync::Mutex<Room>>,
}

/// Index files as they are read.
type Files<'a> = BoxStream<'a, Result<(Id, Vec<PackEntries>)>>;
/// A way to read them.
type Read = &'static (dyn for<'a> Fn(&'a Index, Vec<Id>) -> Files<'a> + Sync);

/// Index files that are read at once.
const LOADS_IN_FLIGHT: usize = 3;

/// How often the list is read again because a file of it has vanished before it was read.
const MAX_LISTINGS: usize = 5;

impl Index {
    /// An index that is kept in memory, which takes 60 bytes a blob and more.
    #[cfg(test)]
    pub(crate) fn new(store: Arc<dyn Store>, key: Arc<Key>) -> Arc<Self> {
        Index::with_dir(store, key, None)
    }

    /// An index that is kept in a directory of its own, if there is one.
    pub(crate) fn with_dir(store: Arc<dyn Store>, key: Arc<Key>, dir: Option<PathBuf>) -> Arc<Self> {
        Index::with_limits(store, key, dir, Limits::default())
    }

    fn with_limits(store: Arc<dyn Store>, key: Arc<Key>, dir: Option<PathBuf>, limits: Limits) -> Arc<Self> {
        let keeper = tokio::sync::Mutex::new(Keeper::new(dir, limits));
        Arc::new(Index {
            store,
            key,
            tables: Arc::default(),
            keeper,
            broken: AtomicBool::new(false),
            unpacking: Arc::default(),
        })
    }

    /// Is there a copy of this blob? Quick enough for the way of every chunk, but it may read a page of a file: hold no
    /// lock meanwhile that others wait for. An error never means "no".
    pub(crate) fn contains(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        Ok(self.location(kind, id)?.is_some())
    }

    /// Where a copy of this blob lies, if there is one.
    pub(crate) fn location(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        Ok(self.find(kind, id, Wanted::One)?.first().copied())
    }

    /// Where all copies of this blob lie. Each is in a pack that an index file names.
    pub(crate) fn locations(&self, kind: BlobKind, id: &Id) -> Result<Vec<Location>> {
        self.find(kind, id, Wanted::All)
    }

    fn find(&self, kind: BlobKind, id: &Id, wanted: Wanted) -> Result<Vec<Location>> {
        let tables = self.tables.read().expect("no panic while held");
        tables.find(kind, id, wanted).map_err(|BrokenRun { path, source }| {
            self.broken.store(true, Ordering::Relaxed);
            Error::IndexCache { path, source: Arc::new(source) }
        })
    }

    /// Takes in what others have written since, and lets go of what vanished.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<()> {
        let index = self.clone();
        to_its_end(async move { index.refresh_from(&Index::files).await }).await
    }

    /// The same, but goes on where index files are damaged: what they name is not found then.
    pub(crate) async fn refresh_readable(self: &Arc<Self>) -> Result<()> {
        let index = self.clone();
        to_its_end(async move { index.refresh_from(&Index::readable_files).await }).await
    }

    async fn refresh_from(&self, read: Read) -> Result<()> {
        let mut keeper = self.keeper.lock().await;
        if let Some(tables) = keeper.open().await? {
            *change(&self.tables) = tables;
        }
        if !self.broken.load(Ordering::Relaxed) {
            return self.take_in(&self.tables, &mut keeper, read).await;
        }
        keeper.clear().await?;
        let fresh = Arc::default();
        self.take_in(&fresh, &mut keeper, read).await?;
        *change(&self.tables) = mem::take(&mut *change(&fresh));
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn take_in(&self, tables: &Arc<RwLock<Tables>>, keeper: &mut Keeper, read: Read) -> Result<()> {
        for _ in 1..MAX_LISTINGS {
            match self.take_in_once(tables, keeper, read).await {
                Err(Error::NotFound { .. }) => {} // a prune replaces index files while we read them
                done => return done,
            }
        }
        self.take_in_once(tables, keeper, read).await
    }

    async fn take_in_once(&self, tables: &Arc<RwLock<Tables>>, keeper: &mut Keeper, read: Read) -> Result<()> {
        let known = tables.read().expect("no panic while held").packs.file_names();
        let listed = self.list(&known).await?;
        let (new, vanished) = tables.read().expect("no panic while held").packs.compare(&listed);
        // New ones first: what was only moved from one file to another is there all the time.
        let mut files = read(self, new);
        while let Some((id, packs)) = files.try_next().await? {
            change(tables).add(id, &packs);
            drop(packs);
            keeper.write(tables, Merging::Lazy).await?;
        }
        drop(files);
        *self.unpacking.lock().await = Room::default();
        {
            let mut tables = change(tables);
            vanished.iter().for_each(|file| tables.packs.remove_file(file));
        }
        keeper.write(tables, Merging::Tidy).await
    }

    /// The index files that are there; if they are those that are known, one look is enough.
    async fn list(&self, known: &IdSet) -> Result<IdSet> {
        let names = |listed: Vec<(Id, u64)>| listed.into_iter().map(|(id, _)| id).collect();
        let listed: IdSet = names(self.store.list(Name::Index).await?);
        if listed == *known { Ok(listed) } else { store::list_settled(&*self.store, Name::Index).await.map(names) }
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
        let mut room = self.unpacking.clone().lock_owned().await;
        let packs = work::run(move || {
            let file: IndexFile = sealed::open_in(&mut room, &key, name, &content, MAX_JSON_BYTES)?;
            file.check().map_err(|why| Error::damaged(name.to_string(), why))
        });
        Ok((id, packs.await??))
    }

    /// Reads all index files that are there now, and shows each pack with the index file that names it. Memory does not
    /// grow with their number. A pack may come more than once; the order is any. Stops at the first error.
    pub(crate) async fn for_each_pack(&self, mut visit: impl FnMut(&Id, PackEntries) -> Result<()>) -> Result<()> {
        let listed = self.list(&IdSet::default()).await?;
        let mut files = self.files(listed.into_iter().collect());
        while let Some((file, packs)) = files.try_next().await? {
            packs.into_iter().try_for_each(|pack| visit(&file, pack))?;
        }
        Ok(())
    }

    /// Writes an index file for packs that are durable, and knows them from then on. Returns the file's name.
    pub(crate) async fn write(self: &Arc<Self>, packs: Vec<PackEntries>) -> Result<Id> {
        let index = self.clone();
        to_its_end(async move { index.write_and_take_in(packs).await }).await
    }

    async fn write_and_take_in(&self, packs: Vec<PackEntries>) -> Result<Id> {
        let mut keeper = self.keeper.lock().await;
        let (id, packs) = Index::write_file(&*self.store, &self.key, packs).await?;
        change(&self.tables).add(id, &packs);
        keeper.write(&self.tables, Merging::Tidy).await?;
        Ok(id)
    }

    /// Writes an index file, and no more than that.
    pub(crate) async fn write_file(
        store: &dyn Store,
        key: &Arc<Key>,
        packs: Vec<PackEntries>,
    ) -> Result<(Id, Vec<PackEntries>)> {
        let key = key.clone();
        let (id, content, packs) = work::run(move || {
            let (id, content) = sealed::seal(&key, &IndexFile::new(&packs));
            (id, content, packs)
        })
        .await?;
        store.put(Name::Index(id), content).await?;
        Ok((id, packs))
    }
}

/// Changes go on when nobody waits for them any more: the tables, and what is written of them, must not part.
async fn to_its_end<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(change).await.unwrap_or(Err(Error::BrokenOff("the runtime shuts down")))
}

fn change(tables: &RwLock<Tables>) -> RwLockWriteGuard<'_, Tables> {
    tables.write().expect("no panic while held")
}
