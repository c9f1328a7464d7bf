//! Points into another repository, with another key.
//!
//! Chunks are cut alike on both sides, so they have the same ids: what the target has already is not read. Everything
//! else is opened, compared with its hash, and sealed again as it was compressed. The snapshot file comes last, and says
//! from which one it was made (restic's `original`), so that a point is not copied twice.
//!
//! What has been copied is findable in the target from checkpoint to checkpoint. Whoever copies again after an
//! interruption looks through the directories of the source once more, and reads only what is missing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::Id;
use crate::index::IdMap;
use crate::layout::REGION_CHUNKS;
use crate::repo::Opened;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::store::Name;
use crate::walk::Walk;
use crate::{Counters, Error, PointReader, Repo, Result, SnapshotId, sealed};

mod missing;

use missing::Missing;

/// Regions of a disk that are looked through together: their chunks are remembered one by one.
const REGIONS: u64 = 4;

/// How points are copied.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Numbers for whoever wants to watch: bytes of disks and files that have been accounted for, those that the target
    /// lacked, and what they take there.
    pub counters: Arc<Counters>,
    /// What has been copied is made findable this often, so that an interrupted copy goes on where it was.
    pub checkpoint: Duration,
}

impl Default for CopyOptions {
    fn default() -> Self {
        CopyOptions { counters: Arc::default(), checkpoint: Duration::from_secs(60) }
    }
}

/// What a copy has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The point in the target.
    pub id: SnapshotId,
    /// It was there already: nothing has been done.
    pub already_there: bool,
    /// Chunks and directories that the target lacked.
    pub chunks: u64,
    /// Bytes that were read of the source's packs for them.
    pub read_bytes: u64,
}

/// Copies points of one repository into another. What it has seen of one point it need not look at for the next.
pub struct Copier {
    source: Repo,
    target: Repo,
    options: CopyOptions,
    /// Copies in the target, by the point that they were made from.
    copies: Copies,
    /// What the target is known to have, as long as this session of it lasts.
    seen: Walk,
    session: Option<Arc<Session>>,
}

impl Repo {
    /// Gets ready to copy points into another repository, whose key may be another one but whose chunks must have the
    /// same size.
    pub async fn copier(&self, target: &Repo, options: CopyOptions) -> Result<Copier> {
        if self.id() == target.id() {
            return Err(Error::Invalid("a repository cannot be copied into itself".to_owned()));
        }
        if self.chunk_bytes() != target.chunk_bytes() {
            let [from, to] = [self, target].map(|repo| repo.chunk_bytes() >> 10);
            return Err(Error::Invalid(format!(
                "disks are cut into chunks of {from} KiB here and of {to} KiB there, so that neither could share any with \
                 the other: create the target with the same size of chunks"
            )));
        }
        Ok(Copier {
            source: self.clone(),
            target: target.clone(),
            options,
            copies: Copies::default(),
            seen: Walk::default(),
            session: None,
        })
    }

    /// Copies one point into another repository; see [`copier`](Self::copier).
    pub async fn copy_point(&self, id: &SnapshotId, target: &Repo, options: CopyOptions) -> Result<CopyReport> {
        self.copier(target, options).await?.copy_point(id).await
    }
}

impl Copier {
    /// Copies a point: reads only what the target lacks. A point that has been copied before is left as it is.
    ///
    /// If something of it is damaged, this point fails, and others can still be copied. Whether a point is protected
    /// is the business of each repository, and not copied. May be dropped at any time.
    pub async fn copy_point(&mut self, id: &SnapshotId) -> Result<CopyReport> {
        let point = self.source.open_point(id).await?;
        let snapshot = self.source.0.snapshot(id).await?;
        let original = snapshot.original.unwrap_or(id.0);
        self.copies.refresh(&self.target.0).await?;
        if let Some(copy) = self.copies.find(original, snapshot.tree) {
            return Ok(CopyReport { id: copy, already_there: true, chunks: 0, read_bytes: 0 });
        }
        let session = self.target.0.session().await?;
        if !self.session.as_ref().is_some_and(|known| Arc::ptr_eq(known, &session)) {
            // Between two sessions, a prune may have removed what nobody refers to yet.
            self.seen = Walk::default();
            self.session = Some(session.clone());
        }
        let copied = self.copy(&session, &point, snapshot.copy_of(original)).await;
        if copied.is_err() {
            self.give_up(&session).await;
        }
        copied
    }

    /// What was copied until now stays findable, as far as that is possible.
    async fn give_up(&mut self, session: &Arc<Session>) {
        self.seen = Walk::default();
        if let Err(error) = session.flush().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what a given-up copy has stored is lost");
            self.session = None;
            session.settle().await;
        }
    }

    async fn copy(&mut self, session: &Arc<Session>, point: &PointReader, snapshot: Snapshot) -> Result<CopyReport> {
        let mut job = Job {
            source: &self.source.0,
            session,
            options: &self.options,
            checkpoint: Instant::now(),
            chunks: 0,
            read_bytes: 0,
        };
        for name in point.disks().await? {
            job.copy_disk(&mut self.seen, point, &name).await?;
        }
        // All that is above and beside the disks.
        job.copy_below(&mut self.seen, vec![snapshot.tree]).await?;
        session.flush().await?;
        let target = &self.target.0;
        let (id, content) = sealed::seal(&target.key, &snapshot);
        session.list_point(id, content, &[]).await?;
        Ok(CopyReport { id: SnapshotId(id), already_there: false, chunks: job.chunks, read_bytes: job.read_bytes })
    }
}

/// The copying of one point.
struct Job<'a> {
    source: &'a Arc<Opened>,
    session: &'a Arc<Session>,
    options: &'a CopyOptions,
    checkpoint: Instant,
    chunks: u64,
    read_bytes: u64,
}

impl Job<'_> {
    /// A few regions at a time, so that memory does not grow with the disk.
    async fn copy_disk(&mut self, seen: &mut Walk, point: &PointReader, name: &str) -> Result<()> {
        let disk = point.disk(name).await?;
        let layout = *disk.layout();
        let mut next = 0;
        while next < layout.regions() {
            let end = layout.regions().min(next + REGIONS);
            let regions = (next..end).map(|region| disk.region_tree(region)).collect::<Result<Vec<Id>>>()?;
            self.copy_below(seen, regions).await?;
            let [start, end_at] =
                [next, end].map(|region| layout.size().min(region * REGION_CHUNKS * layout.chunk_bytes()));
            self.options.counters.add_read(end_at - start);
            next = end;
        }
        Ok(())
    }

    /// Copies what the target lacks of directories and everything below them.
    async fn copy_below(&mut self, seen: &mut Walk, roots: Vec<Id>) -> Result<()> {
        let missing = Missing::below(self.source, self.session, seen, roots).await?;
        for part in missing.parts() {
            let moved = part.relocate(self.source, self.session, &self.options.counters).await?;
            self.chunks += moved.blobs;
            self.read_bytes += moved.read_bytes;
            if self.checkpoint.elapsed() >= self.options.checkpoint {
                self.session.write_index().await?;
                self.checkpoint = Instant::now();
            }
        }
        Ok(())
    }
}

/// The snapshot files of the target that are copies.
#[derive(Default)]
struct Copies {
    /// By their names: the point that they were made from, and their tree.
    known: IdMap<(Id, Id)>,
}

impl Copies {
    /// Reads what is new, forgets what is gone.
    async fn refresh(&mut self, target: &Opened) -> Result<()> {
        let listed: IdMap<u64> = target.store.list(Name::Snapshot).await?.into_iter().collect();
        self.known.retain(|id, _| listed.contains_key(id));
        for id in listed.into_keys() {
            if self.known.contains_key(&id) {
                continue;
            }
            match target.snapshot(&SnapshotId(id)).await {
                Ok(snapshot) => drop(self.known.insert(id, (snapshot.original.unwrap_or(id), snapshot.tree))),
                // Not to be taken for a copy.
                Err(Error::Damaged { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn find(&self, original: Id, tree: Id) -> Option<SnapshotId> {
        let mut copies = self.known.iter().filter(|(_, known)| **known == (original, tree));
        copies.next().map(|(id, _)| SnapshotId(*id))
    }
}
