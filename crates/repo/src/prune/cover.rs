//! The last look before anything is marked or deleted: is all that is needed of it elsewhere?
//!
//! What a mark says was true when it was written. Since then, points may have come in, another prune may have marked the
//! only other copy, packs may have been damaged. So it is not believed, but found again from the index files.

use std::collections::HashSet;

use super::used::Used;
use crate::id::Id;
use crate::index::{IdSet, PackEntries};
use crate::pack::{BlobKind, Entry};
use crate::repo::Opened;
use crate::{Result, store};

/// Half of a hash, which tells blobs apart as well as a whole one.
type Half = (BlobKind, [u8; 16]);

fn half(entry: &Entry) -> Half {
    (entry.kind, *entry.id.as_bytes().first_chunk().expect("an id is longer"))
}

/// What index files say of packs that are to go.
#[derive(Default)]
pub(super) struct Cover {
    /// Of these, packs that hold something that is needed, and nowhere else.
    pub(super) needed: IdSet,
    /// Of these, packs that an index file names.
    pub(super) indexed: IdSet,
}

/// Looks at the packs that are to go. `absent` are packs that are named, but don't count as being there: they are to go as
/// well, or are gone.
pub(super) async fn look(repo: &Opened, used: &Used, doomed: &IdSet, absent: &IdSet) -> Result<Cover> {
    let mut cover = Cover::default();
    let mut wanted: HashSet<Half> = HashSet::new();
    let collect = |_: &Id, pack: PackEntries| {
        if doomed.contains(&pack.id) {
            cover.indexed.insert(pack.id);
            wanted.extend(pack.entries.iter().filter(|entry| used.contains(entry.kind, &entry.id)).map(half));
        }
        Ok(())
    };
    repo.index.for_each_pack(collect).await?;
    if wanted.is_empty() {
        return Ok(cover);
    }
    let present: IdSet = repo.store.list(store::Name::Pack).await?.into_iter().map(|(id, _)| id).collect();
    let damage = repo.damage.get();
    let strike = |_: &Id, pack: PackEntries| {
        if !doomed.contains(&pack.id) && !absent.contains(&pack.id) && present.contains(&pack.id) {
            for entry in pack.entries.iter().filter(|entry| !damage.is_damaged(&pack.id, &entry.id)) {
                wanted.remove(&half(entry));
            }
        }
        Ok(())
    };
    repo.index.for_each_pack(strike).await?;
    if wanted.is_empty() {
        return Ok(cover);
    }
    let find = |_: &Id, pack: PackEntries| {
        if doomed.contains(&pack.id) && pack.entries.iter().any(|entry| wanted.contains(&half(entry))) {
            cover.needed.insert(pack.id);
        }
        Ok(())
    };
    repo.index.for_each_pack(find).await?;
    Ok(cover)
}
