//! What the index files say about all packs: as little of each as is needed to judge it.

use std::collections::hash_map::Entry as Place;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{StreamExt, stream};

use super::suspects::Finding;
use crate::id::Id;
use crate::index::{IdMap, IdSet, PackEntries};
use crate::pack::{self, Entry};
use crate::repo::Opened;
use crate::store::{self, Name};
use crate::{Error, Result};

/// Index files that are read at once.
const LOADS_IN_FLIGHT: usize = 4;

/// How often all is read again because an index file has vanished before it was read.
const MAX_TRIES: usize = 5;

/// What index files say about a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Length of its file.
    pub(super) bytes: u64,
    pub(super) blobs: u32,
    /// The same for the same blobs at the same places, in any order.
    digest: u64,
    /// Is there a file of this name?
    pub(super) listed: bool,
}

impl Summary {
    /// Do they speak of the same blobs?
    pub(super) fn agrees(&self, other: &Summary) -> bool {
        (self.bytes, self.blobs, self.digest) == (other.bytes, other.blobs, other.digest)
    }

    pub(super) fn of(entries: &[Entry]) -> Self {
        let digest = |entry: &Entry| {
            let mut hasher = DefaultHasher::new();
            entry.hash(&mut hasher);
            hasher.finish()
        };
        Summary {
            bytes: pack::pack_len(entries),
            blobs: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            digest: entries.iter().map(digest).fold(0, u64::wrapping_add),
            listed: false,
        }
    }
}

/// What all index files say.
#[derive(Default)]
pub(super) struct Packs {
    pub(super) by_id: IdMap<Summary>,
    /// Packs of which two index files say different things.
    pub(super) disputed: IdSet,
    /// Index files that cannot be read.
    pub(super) unreadable: Vec<(Id, Error)>,
}

impl Packs {
    pub(super) async fn load(repo: &Opened) -> Result<Self> {
        let add = |packs: &mut Packs, pack: PackEntries| {
            let summary = Summary::of(&pack.entries);
            match packs.by_id.entry(pack.id) {
                Place::Vacant(place) => drop(place.insert(summary)),
                Place::Occupied(known) if *known.get() == summary => {}
                Place::Occupied(_) => drop(packs.disputed.insert(pack.id)),
            }
        };
        let (mut packs, unreadable) = read_index(repo, add).await?;
        packs.unreadable = unreadable;
        Ok(packs)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.by_id.values().map(|pack| pack.bytes).sum()
    }
}

/// All that index files say about some packs. Those that none names any more are not in the result.
pub(super) async fn entries_of(repo: &Opened, wanted: &IdSet) -> Result<IdMap<Vec<Entry>>> {
    let add = |found: &mut IdMap<Vec<Entry>>, pack: PackEntries| {
        if wanted.contains(&pack.id) {
            let known = found.entry(pack.id).or_default();
            let new: Vec<Entry> = pack.entries.into_iter().filter(|entry| !known.contains(entry)).collect();
            known.extend(new);
        }
    };
    Ok(read_index(repo, add).await?.0)
}

/// Of a damaged pack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Blobs that cannot be read.
    pub(super) chunks: u64,
    /// Those of which there is no good copy.
    pub(super) lost: u64,
}

/// Counts what is lost with damaged packs, as far as index files name them now.
pub(super) async fn count(repo: &Opened, found: &IdMap<Finding>) -> Result<IdMap<Counts>> {
    let damage = repo.damage.get();
    let is_lost = |entry: &Entry| {
        let copies = repo.index.locations(entry.kind, &entry.id)?;
        Ok::<_, Error>(copies.iter().all(|copy| damage.is_damaged(&copy.pack, &entry.id)))
    };
    let add = |counts: &mut IdMap<Result<Counts>>, pack: PackEntries| {
        let Some(finding) = found.get(&pack.id) else { return };
        let harmed = |entry: &&Entry| finding.blobs.as_ref().is_none_or(|blobs| blobs.contains(&entry.id));
        let counted = pack.entries.iter().filter(harmed).try_fold(Counts::default(), |counts, entry| {
            Ok(Counts { chunks: counts.chunks + 1, lost: counts.lost + u64::from(is_lost(entry)?) })
        });
        counts.insert(pack.id, counted);
    };
    let (counts, _) = read_index(repo, add).await?;
    counts.into_iter().map(|(pack, counts)| Ok((pack, counts?))).collect()
}

/// Shows all packs of all index files; returns what was made of them, and the files that cannot be read.
///
/// A prune may replace files while they are read; then all begins anew.
async fn read_index<T: Default>(repo: &Opened, add: impl Fn(&mut T, PackEntries)) -> Result<(T, Vec<(Id, Error)>)> {
    let mut tries = 0;
    loop {
        match try_read_index(repo, &add).await {
            Err(Error::NotFound { .. }) if tries < MAX_TRIES => tries += 1,
            read => return read,
        }
    }
}

async fn try_read_index<T: Default>(repo: &Opened, add: impl Fn(&mut T, PackEntries)) -> Result<(T, Vec<(Id, Error)>)> {
    let (mut all, mut unreadable) = (T::default(), Vec::new());
    let listed = store::list_settled(&*repo.store, Name::Index).await?;
    let mut files = stream::iter(listed)
        .map(|(id, _)| async move { (id, repo.index.load_file(id).await) })
        .buffer_unordered(LOADS_IN_FLIGHT);
    while let Some((id, packs)) = files.next().await {
        match packs {
            Ok((_, packs)) => packs.into_iter().for_each(|pack| add(&mut all, pack)),
            Err(error @ Error::Damaged { .. }) => unreadable.push((id, error)),
            Err(error) => return Err(error),
        }
    }
    Ok((all, unreadable))
}
