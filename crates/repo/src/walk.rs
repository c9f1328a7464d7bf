//! Visiting every directory below a set of points, each once.
//!
//! Points share most of their directories: what is below one that was visited is not read again, however many points
//! there are. Directories that lie next to each other in a pack, as those of one backup do, are read in one go.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use crate::blob::{self, Blobs, MAX_TREE_BYTES};
use crate::id::Id;
use crate::index::{IdHasher, Location};
use crate::pack::BlobKind;
use crate::tree::Tree;
use crate::{Error, Result, work};

#[cfg(test)]
mod tests;

/// Reads that are under way at once.
const READS_IN_FLIGHT: usize = 24;

/// Directories that lie closer than this in a pack are read at once, with what lies between.
const MAX_GAP_BYTES: u32 = 16 << 10;
const MAX_READ_BYTES: u32 = 512 << 10;

/// Bytes of directories in memory at once, sealed and unpacked.
const MEMORY_BYTES: u32 = 2 * MAX_TREE_BYTES;

/// Half a hash tells directories apart as well as a whole one: nobody finds two that begin alike in 128 bits.
type Seen = HashSet<[u8; 16], BuildHasherDefault<IdHasher>>;

/// The directories that have been visited. A walk can go on later, below further points.
#[derive(Default)]
pub(crate) struct Walk {
    seen: Seen,
}

/// Directories that are read in one go.
struct Run {
    pack: Id,
    start: u32,
    end: u32,
    /// Bytes it takes in memory, at most.
    memory: u32,
    trees: Vec<(Id, Location)>,
}

fn half(id: &Id) -> [u8; 16] {
    *id.as_bytes().first_chunk().expect("an id is longer")
}

impl Walk {
    /// Has this directory been visited?
    pub(crate) fn has_seen(&self, id: &Id) -> bool {
        self.seen.contains(&half(id))
    }

    /// Number of directories that have been visited.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Visits the directories `roots` and all below them, in no particular order, leaving out those that were visited before.
    ///
    /// `visit` is called on worker threads, several at once. It gets the directory's id, and the directory or why it
    /// cannot be read; if it returns an error, the walk ends with that.
    pub(crate) async fn below<V>(&mut self, blobs: &Blobs, roots: impl IntoIterator<Item = Id>, visit: V) -> Result<()>
    where
        V: Fn(&Id, Result<Tree>) -> Result<()> + Send + Sync + 'static,
    {
        let visit = Arc::new(visit);
        let memory = Semaphore::new(MEMORY_BYTES as usize);
        let mut reads = FuturesUnordered::new();
        // Last in, first out: so the frontier is as wide as a directory, and as deep as a tree.
        let mut frontier = self.locate(blobs, roots, &*visit)?;
        loop {
            while reads.len() < READS_IN_FLIGHT
                && let Some(run) = frontier.pop()
            {
                reads.push(read(blobs, &memory, run, visit.clone()));
            }
            match reads.next().await {
                Some(subtrees) => frontier.extend(self.locate(blobs, subtrees?, &*visit)?),
                None => return Ok(()),
            }
        }
    }

    /// Finds what has not been visited yet, grouped into as few reads as pays.
    fn locate(
        &mut self,
        blobs: &Blobs,
        trees: impl IntoIterator<Item = Id>,
        visit: &impl Fn(&Id, Result<Tree>) -> Result<()>,
    ) -> Result<Vec<Run>> {
        let mut located = Vec::new();
        for id in trees {
            if !self.seen.insert(half(&id)) {
                continue;
            }
            match blobs.locate(BlobKind::Tree, &id) {
                Ok(location) if location.len().max(location.sealed_len) > MAX_TREE_BYTES => {
                    visit(&id, Err(Error::damaged(format!("directory {id}"), "it is too large")))?;
                }
                Ok(location) => located.push((id, location)),
                Err(error) => visit(&id, Err(error))?,
            }
        }
        Ok(runs(located))
    }
}

fn runs(mut located: Vec<(Id, Location)>) -> Vec<Run> {
    located.sort_unstable_by_key(|(_, location)| (location.pack, location.offset));
    let mut runs: Vec<Run> = Vec::new();
    for (id, location) in located {
        let (start, end) = (location.offset, location.offset + location.sealed_len);
        let memory = location.sealed_len.saturating_add(location.len()).min(MEMORY_BYTES);
        match runs.last_mut() {
            Some(run)
                if run.pack == location.pack
                    && start >= run.end
                    && start - run.end <= MAX_GAP_BYTES
                    && end - run.start <= MAX_READ_BYTES
                    && run.memory + (start - run.end) + memory <= MEMORY_BYTES / 4 =>
            {
                run.memory += (start - run.end) + memory;
                run.end = end;
                run.trees.push((id, location));
            }
            _ => runs.push(Run { pack: location.pack, start, end, memory, trees: vec![(id, location)] }),
        }
    }
    runs
}

/// Reads directories and has them visited. Returns what is below them.
async fn read<V>(blobs: &Blobs, memory: &Semaphore, run: Run, visit: Arc<V>) -> Result<Vec<Id>>
where
    V: Fn(&Id, Result<Tree>) -> Result<()> + Send + Sync + 'static,
{
    let _memory = memory.acquire_many(run.memory).await.map_err(|_| Error::BrokenOff("the walk has ended"))?;
    match blobs.fetch(run.pack, run.start, (run.end - run.start) as usize, Vec::new()).await {
        Ok(sealed) => open(blobs, run, sealed, visit).await,
        Err(error) if run.trees.len() == 1 => visit(&run.trees[0].0, Err(error)).map(|()| Vec::new()),
        Err(_) => {
            // Perhaps only one of them cannot be read.
            let mut subtrees = Vec::new();
            for (id, location) in run.trees {
                let (start, end) = (location.offset, location.offset + location.sealed_len);
                match blobs.fetch(run.pack, start, location.sealed_len as usize, Vec::new()).await {
                    Ok(sealed) => {
                        let single = Run { start, end, trees: vec![(id, location)], ..run };
                        subtrees.extend(open(blobs, single, sealed, visit.clone()).await?);
                    }
                    Err(error) => visit(&id, Err(error))?,
                }
            }
            Ok(subtrees)
        }
    }
}

async fn open<V>(blobs: &Blobs, run: Run, mut sealed: Vec<u8>, visit: Arc<V>) -> Result<Vec<Id>>
where
    V: Fn(&Id, Result<Tree>) -> Result<()> + Send + Sync + 'static,
{
    let key = blobs.key().clone();
    work::run(move || {
        let mut subtrees = Vec::new();
        for (id, location) in run.trees {
            let start = (location.offset - run.start) as usize;
            let mut json = Vec::with_capacity(location.len() as usize);
            let opened =
                blob::open(&key, &id, &location, &mut sealed[start..][..location.sealed_len as usize], &mut json);
            let tree = opened.and_then(|()| blob::parse_tree(&id, &location, &json));
            subtrees.extend(tree.iter().flat_map(|tree| &tree.nodes).filter_map(|node| node.subtree));
            visit(&id, tree)?;
        }
        Ok(subtrees)
    })
    .await?
}
