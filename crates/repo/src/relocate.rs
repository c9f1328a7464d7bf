//! Blobs from the packs of one repository into those of another, or of the same one, without being compressed again.
//!
//! Each is opened, unpacked and compared with its hash on the way; what was compressed travels on as it was, under a new
//! seal. Nothing is written that could not be read.

use std::mem;
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use xenkeep_disk::buffers::Buffers;

use crate::blob::{self, Blobs};
use crate::id::Id;
use crate::index::Location;
use crate::pack::BlobKind;
use crate::session::{BUDGET_BYTES, Session};
use crate::{Counters, Error, Result, work};

/// Blobs that lie closer than this in a pack are read at once, with what lies between.
const MAX_GAP_BYTES: u32 = 128 << 10;
const MAX_READ_BYTES: u32 = 4 << 20;

/// Reads that are under way at once. The budget of the session bounds their bytes.
const READS_IN_FLIGHT: usize = 16;

/// A copy of a blob that is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: BlobKind,
    pub(crate) id: Id,
    pub(crate) location: Location,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Relocated {
    /// Blobs that were stored; the others were there already.
    pub(crate) blobs: u64,
    /// Bytes that were read.
    pub(crate) read_bytes: u64,
    /// Copies that are damaged, and why.
    pub(crate) damaged: Vec<(Wanted, Error)>,
}

impl Relocated {
    fn merge(&mut self, other: Relocated) {
        self.blobs += other.blobs;
        self.read_bytes += other.read_bytes;
        self.damaged.extend(other.damaged);
    }
}

/// Reads blobs, grouped by pack, and stores those that the session does not know yet.
///
/// Damage is told and stops nothing; what else goes wrong does. Nothing is durable before a
/// [`flush`](Session::flush).
pub(crate) async fn relocate(
    from: &Blobs,
    wanted: Vec<Wanted>,
    to: &Arc<Session>,
    counters: &Arc<Counters>,
) -> Result<Relocated> {
    let mover = Mover { from, to, counters, memory: Buffers::new(READS_IN_FLIGHT) };
    let mut moved = Relocated::default();
    let mut moves = stream::iter(runs(wanted)).map(|run| mover.move_run(run)).buffer_unordered(READS_IN_FLIGHT);
    while let Some(run) = moves.next().await {
        moved.merge(run?);
    }
    Ok(moved)
}

/// Blobs that are read in one go.
struct Run {
    pack: Id,
    start: u32,
    end: u32,
    blobs: Vec<Wanted>,
}

/// Groups blobs into as few reads as pays, in the order in which they lie in their packs.
fn runs(mut wanted: Vec<Wanted>) -> Vec<Run> {
    wanted.sort_unstable_by_key(|blob| (blob.location.pack, blob.location.offset));
    let mut runs: Vec<Run> = Vec::new();
    for blob in wanted {
        let location = blob.location;
        let (start, end) = (location.offset, location.offset + location.sealed_len);
        match runs.last_mut() {
            Some(run)
                if run.pack == location.pack
                    && start >= run.end
                    && start - run.end <= MAX_GAP_BYTES
                    && end - run.start <= MAX_READ_BYTES =>
            {
                run.end = end;
                run.blobs.push(blob);
            }
            _ => runs.push(Run { pack: location.pack, start, end, blobs: vec![blob] }),
        }
    }
    runs
}

struct Mover<'a> {
    from: &'a Blobs,
    to: &'a Arc<Session>,
    counters: &'a Arc<Counters>,
    memory: Buffers,
}

impl Mover<'_> {
    async fn move_run(&self, run: Run) -> Result<Relocated> {
        match self.try_run(&run).await {
            Err(error @ Error::Damaged { .. }) if run.blobs.len() == 1 => {
                Ok(Relocated { damaged: vec![(run.blobs[0], error)], ..Relocated::default() })
            }
            // The pack is shorter than it should be, or gone: what of it can be read?
            Err(Error::Damaged { .. }) => {
                let mut moved = Relocated::default();
                for blob in run.blobs {
                    let Location { pack, offset, sealed_len, .. } = blob.location;
                    let alone = Run { pack, start: offset, end: offset + sealed_len, blobs: vec![blob] };
                    moved.merge(Box::pin(self.move_run(alone)).await?);
                }
                Ok(moved)
            }
            moved => moved,
        }
    }

    async fn try_run(&self, run: &Run) -> Result<Relocated> {
        let len = (run.end - run.start) as usize;
        // A giant takes less than it needs, for what lies in open packs does not come free by itself.
        let permit = self.to.admit(len.min(BUDGET_BYTES / 3)).await?;
        let mut sealed = self.memory.take(len.max(MAX_READ_BYTES as usize));
        *sealed = self.from.fetch(run.pack, run.start, len, mem::take(&mut *sealed)).await?;
        let (from_key, to, counters) = (self.from.key().clone(), self.to.clone(), self.counters.clone());
        let (start, blobs) = (run.start, run.blobs.clone());
        work::run(move || {
            let mut moved = Relocated { read_bytes: len as u64, ..Relocated::default() };
            let mut permit = Some(permit);
            for wanted in blobs {
                let Location { offset, sealed_len, raw_len, .. } = wanted.location;
                let at = (offset - start) as usize;
                let sealed = &mut sealed[at..at + sealed_len as usize];
                match blob::open_packed(&from_key, &wanted.id, &wanted.location, sealed) {
                    Ok(text) => {
                        let permit = split(&mut permit, text.len());
                        moved.blobs +=
                            u64::from(to.put_packed(wanted.kind, wanted.id, text, raw_len, permit, &counters)?);
                    }
                    Err(error) => moved.damaged.push((wanted, error)),
                }
            }
            Ok(moved)
        })
        .await?
    }
}

/// As much of a permit as there is, for a part of the bytes it stands for.
fn split(permit: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let permit = permit.as_mut()?;
    let part = bytes.min(permit.num_permits());
    permit.split(part)
}
