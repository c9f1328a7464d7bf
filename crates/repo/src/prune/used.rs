//! Which blobs points need.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};

use super::bloom::Bloom;
use crate::id::Id;
use crate::pack::BlobKind;
use crate::repo::Opened;
use crate::store::Name;
use crate::tree::Tree;
use crate::walk::Walk;
use crate::{Error, Result, SnapshotId, sealed};

/// Files that are read at once.
const FILES_IN_FLIGHT: usize = 16;

/// The least that an entry takes in an index file: a hash does not compress.
const MIN_ENTRY_BYTES: u64 = 32;

/// The blobs that points need: directories exactly, data in bounded memory, with some that nobody needs among them.
pub(super) struct Used {
    data: Arc<Bloom>,
    trees: Walk,
    /// More blobs than this cannot be in the index.
    pub(super) room: u64,
    /// Snapshots, and notes of forgotten ones, that were looked at.
    visited: HashSet<Name>,
    /// Snapshots of these.
    pub(super) points: u64,
}

impl Used {
    /// Room for all blobs that there can be.
    pub(super) async fn new(repo: &Opened) -> Result<Self> {
        let index_bytes: u64 = repo.store.list(Name::Index).await?.iter().map(|(_, len)| len).sum();
        let room = index_bytes / MIN_ENTRY_BYTES;
        let data = Arc::new(Bloom::new(room));
        Ok(Used { data, room, trees: Walk::default(), visited: HashSet::new(), points: 0 })
    }

    /// Leaves out notes of points that were forgotten.
    pub(super) fn pass_over(&mut self, forgotten: &[Id]) {
        self.visited.extend(forgotten.iter().map(|id| Name::Forgotten(*id)));
    }

    /// All points that were looked at.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = &Id> {
        self.visited.iter().filter_map(|name| if let Name::Snapshot(id) = name { Some(id) } else { None })
    }

    pub(super) fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        match kind {
            BlobKind::Data => self.data.contains(id),
            BlobKind::Tree => self.trees.has_seen(id),
        }
    }

    /// Takes in all points that were not there before, and those that were removed while somebody may have been using them.
    ///
    /// Fails if anything cannot be read, or is needed and in no index file: then nothing must be deleted.
    pub(super) async fn add_points(&mut self, repo: &Opened) -> Result<()> {
        // A point is noted as forgotten before its snapshot goes. So it is in one of the lists, or in both.
        let snapshots = repo.store.list(Name::Snapshot).await?;
        let forgotten = repo.store.list(Name::Forgotten).await?;
        // And what the points need is in the index before their snapshots are there.
        repo.refresh().await?;
        let new: Vec<Id> = self.unvisited(Name::Snapshot, snapshots);
        self.points += new.len() as u64;
        let roots =
            read_roots(new, |id| async move { repo.snapshot(&SnapshotId(id)).await.map(|snapshot| snapshot.tree) });
        let roots = roots.await?;
        self.walk(repo, roots).await?;

        let read = |id| async move {
            let read = sealed::read(&*repo.store, &repo.key, Name::Forgotten(id)).await;
            read.map(|forgotten: crate::protect::Forgotten| forgotten.tree)
        };
        let roots = read_roots(self.unvisited(Name::Forgotten, forgotten), read).await?;
        // What is gone already cannot be spared any more.
        let mut standing = Vec::with_capacity(roots.len());
        for root in roots {
            if repo.index.contains(BlobKind::Tree, &root)? {
                standing.push(root);
            }
        }
        self.walk(repo, standing).await
    }

    fn unvisited(&mut self, kind: fn(Id) -> Name, listed: Vec<(Id, u64)>) -> Vec<Id> {
        listed.into_iter().map(|(id, _)| id).filter(|id| self.visited.insert(kind(*id))).collect()
    }

    async fn walk(&mut self, repo: &Opened, roots: Vec<Id>) -> Result<()> {
        let (data, index) = (self.data.clone(), repo.index.clone());
        let missing = Arc::new(Mutex::new(None));
        let first_missing = missing.clone();
        let visit = move |_: &Id, tree: Result<Tree>| {
            for chunk in tree?.nodes.iter().flat_map(|node| &node.content) {
                if data.insert(chunk) && !index.contains(BlobKind::Data, chunk)? {
                    first_missing.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(*chunk);
                    return Err(Error::BrokenOff("a chunk is missing"));
                }
            }
            Ok(())
        };
        let walked = self.trees.below(&repo.blobs, roots, visit).await;
        let missing = missing.lock().unwrap_or_else(PoisonError::into_inner).take();
        match missing {
            Some(chunk) => Err(Error::damaged(
                format!("chunk {chunk}"),
                "a restore point needs it, but no index file says where it is, so nothing is pruned; if packs are complete, \
                 `restic repair index` finds it again; else remove the points that a verification names",
            )),
            None => walked,
        }
    }
}

async fn read_roots<F: Future<Output = Result<Id>>>(ids: Vec<Id>, read: impl Fn(Id) -> F) -> Result<Vec<Id>> {
    let read = stream::iter(ids).map(|id| {
        let read = read(id);
        async move {
            match read.await {
                Ok(root) => Ok(Some(root)),
                Err(Error::NotFound { .. }) => Ok(None), // removed in this moment
                Err(error) => Err(error),
            }
        }
    });
    read.buffer_unordered(FILES_IN_FLIGHT).try_filter_map(|root| async move { Ok(root) }).try_collect().await
}
