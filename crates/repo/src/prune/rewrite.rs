//! Index files that do not name what is gone, in place of those that do.

use super::Guard;
use super::census::contents;
use crate::Result;
use crate::id::Id;
use crate::index::{IdMap, IdSet, PackEntries};
use crate::repo::Opened;
use crate::store::Name;

/// A new index file is closed when it has so many blobs, as restic closes it.
const FILE_BLOBS: usize = 50_000;

/// Index files below this size are put together, if there are many.
const SMALL_FILE_BYTES: u64 = 256 << 10;
const MANY_SMALL: usize = 32;

/// Index files that are to be replaced, and what the others name.
struct Scope {
    old: IdSet,
    /// By pack, what other files say of it.
    named: IdMap<u64>,
}

/// Replaces index files that name packs which are `gone`. Each pack that stays is named all the time.
///
/// New files are written first, so that a death in between leaves packs named twice. That does no harm, and the next time
/// they are not written once more.
pub(super) async fn rewrite(repo: &Opened, gone: &IdSet, guard: &Guard<'_>) -> Result<()> {
    let scope = scope(repo, gone).await?;
    if scope.old.is_empty() {
        return Ok(());
    }
    guard.check().await?;
    let mut new = Vec::new();
    let written = write(repo, gone, &scope.old, scope.named, &mut new).await;
    // Whoever took the repository from us in the meantime may have deleted packs that our new files name.
    let still_ours = match written {
        Ok(()) => guard.check().await,
        Err(error) => Err(error),
    };
    if let Err(error) = still_ours {
        for file in new {
            repo.store.remove(Name::Index(file)).await?;
        }
        return Err(error);
    }
    for file in scope.old {
        repo.store.remove(Name::Index(file)).await?;
    }
    repo.refresh().await
}

async fn scope(repo: &Opened, gone: &IdSet) -> Result<Scope> {
    let listed: IdMap<u64> = repo.store.list(Name::Index).await?.into_iter().collect();
    let mut old: IdSet = listed.iter().filter(|(_, bytes)| **bytes < SMALL_FILE_BYTES).map(|(id, _)| *id).collect();
    if old.len() < MANY_SMALL {
        old.clear();
    }
    let mut all: Vec<(Id, Id, u64)> = Vec::new();
    let visit = |file: &Id, pack: PackEntries| {
        if gone.contains(&pack.id) {
            old.insert(*file);
        } else {
            all.push((*file, pack.id, contents(&pack.entries)));
        }
        Ok(())
    };
    repo.index.for_each_pack(visit).await?;
    let others = all.into_iter().filter(|(file, ..)| !old.contains(file));
    let named = others.map(|(_, pack, contents)| (pack, contents)).collect();
    Ok(Scope { old, named })
}

async fn write(repo: &Opened, gone: &IdSet, old: &IdSet, mut named: IdMap<u64>, new: &mut Vec<Id>) -> Result<()> {
    let (mut pending, mut blobs) = (Vec::new(), 0);
    for file in old {
        for pack in repo.index.load_file(*file).await?.1 {
            let contents = contents(&pack.entries);
            if gone.contains(&pack.id) || named.insert(pack.id, contents) == Some(contents) {
                continue;
            }
            blobs += pack.entries.len();
            pending.push(pack);
            if blobs >= FILE_BLOBS {
                new.push(repo.index.write(std::mem::take(&mut pending)).await?);
                blobs = 0;
            }
        }
    }
    if !pending.is_empty() {
        new.push(repo.index.write(pending).await?);
    }
    Ok(())
}
