//! What lies in the packs, and how much of it points need.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};

use super::bloom::Bloom;
use super::used::Used;
use crate::damage::Damage;
use crate::id::Id;
use crate::index::{IdMap, IdSet, PackEntries};
use crate::pack::{BlobKind, Entry};
use crate::repo::Opened;
use crate::store::Name;
use crate::{Error, Result};

/// Blobs with several copies that are looked at one by one; all others count as needed wherever they are.
const MAX_COPIED: usize = 2 << 20;

/// Packs whose presence is asked for at once.
const REQUESTS_IN_FLIGHT: usize = 16;

/// A pack that index files name.
#[derive(Clone, Debug, Default)]
pub(super) struct PackInfo {
    /// Size of the file.
    pub(super) bytes: u64,
    /// Size it should have.
    expected_bytes: u64,
    /// Blobs in it that points need.
    pub(super) used_blobs: u64,
    pub(super) used_bytes: u64,
    /// Of blobs that points need, but have elsewhere.
    pub(super) copied_bytes: u64,
    /// Of blobs that no point needs.
    garbage_bytes: u64,
    /// Something is known to be wrong with it.
    pub(super) is_damaged: bool,
    /// Blobs that points need, that are damaged here, and of which there is no good copy.
    pub(super) lost_blobs: u64,
    pub(super) holds_trees: bool,
    /// Tells one content from another.
    contents: u64,
    counted: bool,
}

impl PackInfo {
    /// Bytes that go if it is deleted and the rest stored anew.
    pub(super) fn unused_bytes(&self) -> u64 {
        // What frames the blobs is needed as long as any of them is.
        self.expected_bytes.saturating_sub(self.used_bytes + self.frame_bytes())
    }

    fn frame_bytes(&self) -> u64 {
        if self.used_blobs == 0 { 0 } else { 36 + 41 * self.used_blobs }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bytes == self.expected_bytes
    }
}

pub(super) struct Census {
    /// Packs that are named by index files and are not marked.
    pub(super) packs: IdMap<PackInfo>,
    /// Packs that no index file names, nor a mark.
    pub(super) orphans: Vec<(Id, u64)>,
    /// Packs that index files name, and that are not there.
    pub(super) missing: IdSet,
    /// Sizes of all packs that are there.
    pub(super) sizes: IdMap<u64>,
}

/// Where a blob has been found.
#[derive(Clone, Copy)]
struct Copy {
    pack: Id,
    sealed_len: u32,
    good: bool,
}

type Copied = HashMap<(BlobKind, Id), Vec<Copy>>;

impl Census {
    /// Counts. `marked` are packs that are to be deleted anyhow: what is in them does not count as being there.
    pub(super) async fn take(repo: &Opened, used: &Used, marked: &IdSet) -> Result<Self> {
        // Packs first: one that is in no index file afterwards was in none before.
        let sizes: IdMap<u64> = repo.store.list(Name::Pack).await?.into_iter().collect();
        let damage = repo.damage.get();
        let mut census = Census { packs: IdMap::default(), orphans: Vec::new(), missing: IdSet::default(), sizes };
        let mut copied = census.find_copied(repo, used, marked, &damage).await?;
        census.find_missing(repo).await?;
        census.count(repo, used, marked, &damage, &mut copied).await?;
        census.choose_copies(copied);
        census.refuse_missing()?;
        let known = |id: &Id| census.packs.contains_key(id) || marked.contains(id);
        census.orphans = census.sizes.iter().filter(|(id, _)| !known(id)).map(|(id, bytes)| (*id, *bytes)).collect();
        census.orphans.sort_unstable();
        Ok(census)
    }

    /// Finds the packs, and the blobs that seem to have several copies.
    async fn find_copied(&mut self, repo: &Opened, used: &Used, marked: &IdSet, damage: &Damage) -> Result<Copied> {
        let seen = Bloom::new(used.room);
        let mut copied = Copied::new();
        let visit = |_: &Id, pack: PackEntries| {
            let contents = contents(&pack.entries);
            let known = self.packs.get(&pack.id).is_some_and(|known| known.contents == contents);
            if known || marked.contains(&pack.id) {
                return Ok(());
            }
            let bytes = self.sizes.get(&pack.id).copied().unwrap_or_default();
            let is_damaged = damage.has(&pack.id);
            let new = || PackInfo { bytes, contents, is_damaged, ..PackInfo::default() };
            self.packs.entry(pack.id).or_insert_with(new);
            for entry in pack.entries.iter().filter(|entry| used.contains(entry.kind, &entry.id)) {
                let repeated = !seen.insert(&entry.id) || damage.is_damaged(&pack.id, &entry.id);
                if repeated && copied.len() < MAX_COPIED {
                    copied.entry((entry.kind, entry.id)).or_default();
                }
            }
            Ok(())
        };
        repo.index.for_each_pack(visit).await?;
        Ok(copied)
    }

    /// Packs that are named and were not listed: they came meanwhile, or are gone.
    async fn find_missing(&mut self, repo: &Opened) -> Result<()> {
        let unlisted: Vec<Id> = self.packs.keys().filter(|id| !self.sizes.contains_key(id)).copied().collect();
        let asked: Vec<(Id, Option<u64>)> = stream::iter(unlisted)
            .map(|id| async move { Ok::<_, Error>((id, repo.store.len(Name::Pack(id)).await?)) })
            .buffer_unordered(REQUESTS_IN_FLIGHT)
            .try_collect()
            .await?;
        for (id, bytes) in asked {
            match (bytes, self.packs.get_mut(&id)) {
                (Some(bytes), Some(pack)) => {
                    pack.bytes = bytes;
                    self.sizes.insert(id, bytes);
                }
                _ => drop(self.missing.insert(id)),
            }
        }
        Ok(())
    }

    async fn count(
        &mut self,
        repo: &Opened,
        used: &Used,
        marked: &IdSet,
        damage: &Damage,
        copied: &mut Copied,
    ) -> Result<()> {
        let visit = |_: &Id, pack: PackEntries| {
            // What has come since is none of our business.
            let Some(info) = self.packs.get_mut(&pack.id).filter(|_| !marked.contains(&pack.id)) else { return Ok(()) };
            let same = contents(&pack.entries) == info.contents;
            if info.counted && same {
                return Ok(());
            }
            if !info.counted {
                info.expected_bytes = 36;
            }
            info.counted = true;
            for entry in &pack.entries {
                info.expected_bytes += u64::from(entry.sealed_len) + if entry.raw_len.is_some() { 41 } else { 37 };
                info.holds_trees |= entry.kind == BlobKind::Tree;
                if !used.contains(entry.kind, &entry.id) {
                    info.garbage_bytes += u64::from(entry.sealed_len);
                    continue;
                }
                if let Some(copies) = copied.get_mut(&(entry.kind, entry.id)) {
                    let good = !self.missing.contains(&pack.id) && !damage.is_damaged(&pack.id, &entry.id);
                    copies.push(Copy { pack: pack.id, sealed_len: entry.sealed_len, good });
                } else {
                    info.used_blobs += 1;
                    info.used_bytes += u64::from(entry.sealed_len);
                }
            }
            Ok(())
        };
        repo.index.for_each_pack(visit).await
    }

    /// Of several copies one is needed: a good one, in the pack that is needed most. If there is no good one, all of them.
    fn choose_copies(&mut self, copied: Copied) {
        // Best is one without garbage, and one that is needed for other things as well.
        let of = |pack: &PackInfo| (pack.garbage_share(), pack.used_blobs == 0);
        let waste: IdMap<(u64, bool)> = self.packs.iter().map(|(id, pack)| (*id, of(pack))).collect();
        for (_, copies) in copied {
            let share = |copy: &&Copy| (waste.get(&copy.pack).copied().unwrap_or((u64::MAX, true)), copy.pack);
            let chosen = copies.iter().filter(|copy| copy.good).min_by_key(share).map(|copy| copy.pack);
            let mut counted = None;
            for copy in copies {
                let Some(pack) = self.packs.get_mut(&copy.pack) else { continue };
                // A pack may hold a blob twice, or two index files name it.
                let needed = chosen.is_none_or(|chosen| chosen == copy.pack) && counted != Some(copy.pack);
                if needed {
                    pack.lost_blobs += u64::from(!copy.good);
                    pack.used_blobs += 1;
                    pack.used_bytes += u64::from(copy.sealed_len);
                    counted = Some(copy.pack);
                } else {
                    pack.copied_bytes += u64::from(copy.sealed_len);
                }
            }
        }
    }

    /// A pack that is needed and not there is damage, or a list that is not whole. In both cases it is not the time to delete.
    fn refuse_missing(&self) -> Result<()> {
        let needed = |id: &&Id| self.packs.get(id).is_some_and(|pack| pack.used_blobs > 0);
        match self.missing.iter().find(needed) {
            Some(id) => Err(Error::damaged(
                format!("pack {}", Name::Pack(*id)),
                "it is missing, but restore points need it, so nothing is pruned; verify the repository to see which, and \
                 remove them, or copy the pack back from another copy of the repository",
            )),
            None => Ok(()),
        }
    }
}

impl PackInfo {
    /// Of a million bytes, those that are garbage.
    fn garbage_share(&self) -> u64 {
        self.garbage_bytes.saturating_mul(1_000_000) / self.expected_bytes.max(1)
    }
}

/// A number that tells what an index file says of a pack, whatever the order.
pub(super) fn contents(entries: &[Entry]) -> u64 {
    let of = |entry: &Entry| {
        let id = entry.id.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        (id ^ (u64::from(entry.offset) << 32 | u64::from(entry.sealed_len))).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    entries.iter().map(of).fold(entries.len() as u64, u64::wrapping_add)
}
