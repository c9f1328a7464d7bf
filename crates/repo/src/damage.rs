//! Which blobs are known to be damaged: recorded by verifications in `xenkeep/damage`, heeded by everyone else.
//!
//! A blob that is damaged in one pack may lie unharmed in another. So it is always a *copy* that is damaged: a blob in a
//! pack. Writers do not count such a copy as present, readers use another one if there is one, a prune does not take it
//! for a good one.
//!
//! Records are replaced by writing the new ones first and removing the old ones then. Whoever is interrupted in between,
//! or does so at the same time as another, leaves a record too much, never one too few: the next verification looks at
//! all that is recorded.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::Key;
use crate::id::Id;
use crate::index::{IdMap, IdSet};
use crate::store::{self, Name, Store};
use crate::{Error, Result, sealed};

#[cfg(test)]
mod tests;

/// A record file holds at most so many packs and blobs, some 4 MiB.
const FILE_ENTRIES: usize = 50_000;

/// From so many single blobs on, packs count as damaged as a whole.
const MAX_BLOBS: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
pub(crate) struct RecordFile {
    packs: Vec<PackDamage>,
}

/// What is known to be wrong with a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackDamage {
    pub(crate) pack: Id,
    /// When that was seen first.
    pub(crate) found: Timestamp,
    /// For people.
    pub(crate) why: String,
    /// The blobs that cannot be read, if it is not all of them. None at all: what is wrong harms no blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blobs: Option<Vec<Id>>,
}

impl PackDamage {
    fn entries(&self) -> usize {
        1 + self.blobs.as_ref().map_or(0, Vec::len)
    }
}

/// The records, by pack.
pub(crate) type Records = IdMap<PackDamage>;

/// All copies of blobs that are known to be damaged.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    packs: IdMap<Blobs>,
}

#[derive(Debug)]
enum Blobs {
    All,
    Some(IdSet),
}

impl Damage {
    pub(crate) fn of(records: &Records) -> Self {
        let mut room = MAX_BLOBS;
        let blobs = |record: &PackDamage| match &record.blobs {
            Some(blobs) if blobs.len() <= room => {
                room -= blobs.len();
                Blobs::Some(blobs.iter().copied().collect())
            }
            _ => Blobs::All,
        };
        Damage { packs: records.values().map(|record| record.pack).zip(records.values().map(blobs)).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Is the copy of this blob in this pack damaged?
    pub(crate) fn is_damaged(&self, pack: &Id, blob: &Id) -> bool {
        match self.packs.get(pack) {
            None => false,
            Some(Blobs::All) => true,
            Some(Blobs::Some(blobs)) => blobs.contains(blob),
        }
    }

    /// Is something wrong with this pack, be it that all of its blobs can be read?
    pub(crate) fn has(&self, pack: &Id) -> bool {
        self.packs.contains_key(pack)
    }
}

/// Where records were.
#[derive(Default)]
struct Files {
    names: Vec<Id>,
    unreadable: bool,
}

/// The damage that an open repository knows of.
pub(crate) struct KnownDamage {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    known: RwLock<Arc<Damage>>,
}

impl KnownDamage {
    pub(crate) fn new(store: Arc<dyn Store>, key: Arc<Key>) -> Self {
        KnownDamage { store, key, known: RwLock::default() }
    }

    pub(crate) fn get(&self) -> Arc<Damage> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, damage: Damage) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(damage);
    }

    /// Reads the records. One that cannot be read is passed over: a backup shall not fail because of it.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let (records, _) = self.read().await?;
        self.set(Damage::of(&records));
        Ok(())
    }

    /// All records, and the files in which they were.
    async fn read(&self) -> Result<(Records, Files)> {
        let (mut records, mut files) = (Records::default(), Files::default());
        for (id, _) in store::list_settled(&*self.store, Name::Damage).await? {
            match sealed::read::<RecordFile>(&*self.store, &self.key, Name::Damage(id)).await {
                Ok(file) => file.packs.into_iter().for_each(|pack| merge(&mut records, pack)),
                Err(Error::NotFound { .. }) => continue, // replaced in this moment
                Err(error @ Error::Damaged { .. }) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a record of damage cannot be read");
                    files.unreadable = true;
                }
                Err(error) => return Err(error),
            }
            files.names.push(id);
        }
        Ok((records, files))
    }

    pub(crate) async fn records(&self) -> Result<Records> {
        Ok(self.read().await?.0)
    }

    /// Replaces the records by what `change` makes of them.
    pub(crate) async fn replace(&self, change: impl FnOnce(&mut Records) + Send) -> Result<()> {
        let (old, old_files) = self.read().await?;
        let mut records = old.clone();
        change(&mut records);
        if records != old || old_files.unreadable {
            let mut new_files = Vec::new();
            for file in split(&records) {
                let (id, content) = sealed::seal(&self.key, &file);
                self.store.put(Name::Damage(id), content).await?;
                new_files.push(id);
            }
            for id in old_files.names.into_iter().filter(|id| !new_files.contains(id)) {
                self.store.remove(Name::Damage(id)).await?;
            }
        }
        self.set(Damage::of(&records));
        Ok(())
    }
}

/// Takes a record in beside what is known of the pack: the earlier date, and everything that anyone found.
fn merge(records: &mut Records, pack: PackDamage) {
    let Some(known) = records.get_mut(&pack.pack) else {
        records.insert(pack.pack, pack);
        return;
    };
    known.found = known.found.min(pack.found);
    known.blobs = known.blobs.take().zip(pack.blobs).map(|(mut ours, theirs)| {
        ours.extend(theirs);
        ours.sort_unstable();
        ours.dedup();
        ours
    });
}

/// Into files of bounded size.
fn split(records: &Records) -> Vec<RecordFile> {
    let mut files: Vec<RecordFile> = Vec::new();
    let mut room = 0;
    for record in records.values() {
        match files.last_mut() {
            Some(file) if record.entries() <= room => {
                room -= record.entries();
                file.packs.push(record.clone());
            }
            _ => {
                room = FILE_ENTRIES.saturating_sub(record.entries());
                files.push(RecordFile { packs: vec![record.clone()] });
            }
        }
    }
    files
}
