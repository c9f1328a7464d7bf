//! Taking what is needed out of packs that are hardly needed.

use std::collections::HashSet;
use std::sync::Arc;

use super::mark::{Excluded, MarkedPack};
use super::report::PruneProgress;
use super::used::Used;
use crate::id::Id;
use crate::index::{IdSet, Location, PackEntries};
use crate::relocate::{Wanted, relocate};
use crate::repo::Opened;
use crate::session::Session;
use crate::{Counters, Error, Result};

/// Blobs that are looked up at once; between two rounds, the index is read.
const ROUND_BLOBS: usize = 500_000;

/// Blobs that are moved at once; between two steps, it is told how far it has come.
const STEP_BLOBS: usize = 2_000;

pub(super) struct Repack<'a> {
    pub(super) repo: &'a Arc<Opened>,
    pub(super) used: &'a Used,
    pub(super) progress: &'a PruneProgress,
}

impl Repack<'_> {
    /// Stores again what is needed of `packs`, unless it lies in a pack that is not in `doomed`. Returns packs that cannot be
    /// read whole, which must stay.
    pub(super) async fn run(&self, packs: &[MarkedPack], doomed: IdSet, lock: &Session) -> Result<IdSet> {
        let session = self.repo.unlocked_session(Excluded::of(doomed));
        let mut rest: HashSet<Id> = packs.iter().map(|pack| pack.id).collect();
        let mut damaged = IdSet::default();
        while !rest.is_empty() {
            let wanted = self.next_round(&mut rest, &session).await?;
            for step in wanted.chunks(STEP_BLOBS) {
                lock.check_lock().await?;
                let moved = relocate(&self.repo.blobs, step.to_vec(), &session, &Arc::new(Counters::default())).await?;
                damaged.extend(moved.damaged.iter().map(|(blob, _)| blob.location.pack));
                self.progress.add(step.iter().map(|blob| u64::from(blob.location.sealed_len)).sum());
            }
            if let Err(error) = session.flush().await {
                session.settle().await;
                return Err(error);
            }
        }
        Ok(damaged)
    }

    /// What is needed of some of the packs, which are taken out of `rest`.
    async fn next_round(&self, rest: &mut HashSet<Id>, session: &Session) -> Result<Vec<Wanted>> {
        let damage = self.repo.damage.get();
        let mut wanted = Vec::new();
        let mut taken = IdSet::default();
        let visit = |_: &Id, pack: PackEntries| {
            if !rest.contains(&pack.id) || (wanted.len() >= ROUND_BLOBS && !taken.contains(&pack.id)) {
                return Ok(());
            }
            taken.insert(pack.id);
            for entry in pack.entries.iter().filter(|entry| self.used.contains(entry.kind, &entry.id)) {
                if damage.is_damaged(&pack.id, &entry.id) && session.is_present(entry.kind, &entry.id)? {
                    continue; // there is a good one
                }
                wanted.push(Wanted {
                    kind: entry.kind,
                    id: entry.id,
                    location: Location {
                        pack: pack.id,
                        offset: entry.offset,
                        sealed_len: entry.sealed_len,
                        raw_len: entry.raw_len,
                    },
                });
            }
            Ok(())
        };
        self.repo.index.for_each_pack(visit).await?;
        if taken.is_empty() {
            return Err(Error::BrokenOff("a pack has vanished from the index while it was repacked"));
        }
        rest.retain(|pack| !taken.contains(pack));
        Ok(wanted)
    }
}
