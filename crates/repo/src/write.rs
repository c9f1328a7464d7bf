//! Writing a restore point.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use jiff::Timestamp;
use tokio::sync::oneshot;
use xenkeep_disk::{Blocks, is_zero};

use crate::id::Id;
use crate::layout::Layout;
use crate::pack::BlobKind;
use crate::point::Meta;
use crate::read::DiskReader;
use crate::session::Session;
use crate::snapshot::{self, Snapshot};
use crate::tree::{Node, Tree, check_name};
use crate::{Counters, Error, Result, SnapshotId, sealed, work};

mod file;
mod map;
mod sink;

pub use file::FileSink;
pub use sink::DiskSink;

use crate::repo::Opened;

/// A directory at the root of a point.
pub(crate) const DISKS_DIR: &str = "disks";

/// Files beside the disks are small, but for those that are streamed.
pub(crate) const MAX_SIDE_FILE_BYTES: usize = 256 << 20;

/// A disk that was stored in a point not yet committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskTree {
    /// Its name: the position.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    tree: Id,
}

/// Writes one restore point.
///
/// Dropping it leaves nothing that is listed: at most packs that nothing refers to, which a prune removes.
/// None of its functions is safe to drop half-way and then go on; drop the writer as well.
pub struct PointWriter {
    shared: Arc<Shared>,
}

/// What a point and the sinks of its disks share.
struct Shared {
    repo: Arc<Opened>,
    session: Arc<Session>,
    counters: Arc<Counters>,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// Disks; nothing while one is still being written.
    disks: BTreeMap<String, Option<Id>>,
    /// Size and chunks of the files beside them; nothing while one is still being written.
    files: BTreeMap<String, Option<(u64, Vec<Id>)>>,
    /// Sessions in which disks were opened over which disks of this point are stored. What is taken over from them is only safe
    /// as long as these stand.
    bases: Vec<Arc<Session>>,
}

impl Shared {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no panic while held")
    }

    /// Starts to take a chunk in; its id comes when that is done. Waits for room first.
    async fn submit(self: &Arc<Self>, chunk: Bytes) -> Result<oneshot::Receiver<Result<Id>>> {
        let (permit, raw) = self.session.admit_chunk(chunk.len()).await?;
        let (sender, receiver) = oneshot::channel();
        let shared = self.clone();
        work::spawn(move || {
            let id = shared.chunk_id(&chunk);
            let stored = shared.session.put(BlobKind::Data, id, &chunk, Some(permit), &shared.counters);
            drop((chunk, raw));
            drop(shared);
            drop(sender.send(stored.map(|()| id)));
        });
        Ok(receiver)
    }

    fn chunk_id(&self, chunk: &[u8]) -> Id {
        let zero = &self.repo.zero;
        if chunk.len() == zero.chunk.len() && is_zero(chunk) { zero.id } else { Id::of(chunk) }
    }

    fn put_tree(&self, tree: &Tree) -> Result<Id> {
        let json = tree.to_json();
        let id = Id::of(&json);
        self.session.put(BlobKind::Tree, id, &json, None, &self.counters)?;
        Ok(id)
    }
}

async fn taken_in(receiver: oneshot::Receiver<Result<Id>>) -> Result<Id> {
    receiver.await.map_err(|_| Error::BrokenOff("a worker thread panicked"))?
}

impl PointWriter {
    pub(crate) fn new(repo: Arc<Opened>, session: Arc<Session>, counters: Arc<Counters>) -> Self {
        PointWriter { shared: Arc::new(Shared { repo, session, counters, contents: Mutex::default() }) }
    }

    /// Stores a disk of `size_bytes` from its blocks. Several disks may be stored at once.
    pub async fn disk(&self, name: &str, size_bytes: u64, mut blocks: Blocks) -> Result<DiskTree> {
        let mut sink = self.disk_sink(name, size_bytes)?;
        while let Some(block) = blocks.next().await {
            sink.push(block?).await?;
        }
        sink.finish().await
    }

    /// Starts a disk whose blocks are pushed. Several may be open at once.
    pub fn disk_sink(&self, name: &str, size_bytes: u64) -> Result<DiskSink> {
        self.sink(name, size_bytes, None)
    }

    /// As [`disk_sink`](Self::disk_sink), and [`Unchanged`](xenkeep_disk::Data::Unchanged) means "as in `base`", a disk
    /// of a point in the same repository.
    pub fn disk_sink_over(&self, name: &str, size_bytes: u64, base: Arc<DiskReader>) -> Result<DiskSink> {
        base.check_base(&self.shared.repo)?;
        self.shared.contents().bases.push(base.session().clone());
        self.sink(name, size_bytes, Some(base))
    }

    fn sink(&self, name: &str, size_bytes: u64, base: Option<Arc<DiskReader>>) -> Result<DiskSink> {
        check_name(name)?;
        let too_large = || Error::Invalid(format!("a disk of {size_bytes} bytes is too large"));
        let layout = Layout::new(size_bytes, self.shared.repo.chunk_bytes()).ok_or_else(too_large)?;
        if self.shared.contents().disks.insert(name.to_owned(), None).is_some() {
            return Err(Error::Invalid(format!("disk {name} is stored twice")));
        }
        Ok(DiskSink::new(self.shared.clone(), name, layout, base))
    }

    /// Stores a small file beside the disks, such as `point.json`.
    pub async fn file(&self, name: &str, content: Bytes) -> Result<()> {
        check_name(name)?;
        if name == DISKS_DIR || content.len() > MAX_SIDE_FILE_BYTES {
            return Err(Error::Invalid(format!("{name:?} cannot be stored beside the disks")));
        }
        let size = content.len() as u64;
        let mut rest = content;
        let mut chunks = FuturesOrdered::new();
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(self.shared.repo.chunk_bytes() as usize));
            chunks.push_back(taken_in(self.shared.submit(chunk).await?));
        }
        let chunks = chunks.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<Id>>>()?;
        self.shared.counters.add_read(size);
        self.shared.contents().files.insert(name.to_owned(), Some((size, chunks)));
        Ok(())
    }

    /// Starts a file beside the disks whose bytes are pushed. It may be large, and is cut by its content.
    pub fn file_sink(&self, name: &str) -> Result<FileSink> {
        check_name(name)?;
        if name == DISKS_DIR {
            return Err(Error::Invalid(format!("{name:?} cannot be stored beside the disks")));
        }
        if self.shared.contents().files.insert(name.to_owned(), None).is_some() {
            return Err(Error::Invalid(format!("file {name} is stored twice")));
        }
        Ok(FileSink::new(self.shared.clone(), name))
    }

    /// Makes all of it durable (packs, then index), and only then lists it as a point.
    ///
    /// If this is dropped half-way, the point is listed only if that was being done already.
    pub async fn commit(self, meta: Meta) -> Result<SnapshotId> {
        self.commit_if(meta, std::future::ready(true)).await
    }

    /// As [`commit`](Self::commit), but lists the point only if `allowed` says so, which is asked when all else is durable.
    pub async fn commit_if(
        self,
        meta: Meta,
        allowed: impl Future<Output = bool> + Send + 'static,
    ) -> Result<SnapshotId> {
        snapshot::check(&meta)?;
        // A task of its own: whatever becomes of the caller, the lock stands until nothing is being written any more.
        let (caller, gone) = oneshot::channel::<()>();
        let committed = tokio::spawn(async move { self.list(meta, allowed, gone).await }).await;
        drop(caller);
        committed.unwrap_or(Err(Error::BrokenOff("the runtime shuts down")))
    }

    async fn list(
        &self,
        meta: Meta,
        allowed: impl Future<Output = bool>,
        gone: oneshot::Receiver<()>,
    ) -> Result<SnapshotId> {
        let components = snapshot::check(&meta)?;
        let shared = &self.shared;
        let mut tree = shared.put_tree(&self.root(meta.time)?)?;
        for component in components.iter().rev() {
            tree = shared.put_tree(&Tree { nodes: vec![Node::dir(component, meta.time, tree)] })?;
        }
        let bases = shared.contents().bases.clone();
        if let Err(error) = shared.session.flush_for(&bases).await {
            shared.session.settle().await;
            return Err(error);
        }
        let allowed = tokio::select! {
            biased;
            _ = gone => false,
            allowed = allowed => allowed,
        };
        if !allowed {
            return Err(Error::BrokenOff("the backup was given up"));
        }
        let (id, content) = sealed::seal(&shared.repo.key, &Snapshot::new(meta, tree));
        shared.session.list_point(id, content, &bases).await?;
        Ok(SnapshotId(id))
    }

    /// The directory of the point.
    fn root(&self, time: Timestamp) -> Result<Tree> {
        let contents = self.shared.contents();
        let mut disks = Vec::new();
        for (name, tree) in &contents.disks {
            let tree = tree.ok_or_else(|| Error::Invalid(format!("disk {name} is not complete")))?;
            disks.push(Node::dir(name, Timestamp::UNIX_EPOCH, tree));
        }
        let disks = self.shared.put_tree(&Tree { nodes: disks })?;
        let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
        nodes.insert(DISKS_DIR, Node::dir(DISKS_DIR, time, disks));
        for (name, file) in &contents.files {
            let (size, chunks) = file.as_ref().ok_or_else(|| Error::Invalid(format!("file {name} is not complete")))?;
            nodes.insert(name, Node::file(name, time, *size, chunks.clone()));
        }
        Ok(Tree { nodes: nodes.into_values().collect() })
    }

    /// Gives the point up. What was stored for it is indexed as far as that is possible, so that the next try finds it.
    pub async fn abort(self) {
        let flush = async move {
            if let Err(error) = self.shared.session.flush().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "what a given-up backup has stored is lost");
                self.shared.session.settle().await;
            }
        };
        // As with a commit: the lock stands until nothing is being written any more.
        drop(tokio::spawn(flush).await);
    }
}
