//! What the target of a copy lacks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::id::Id;
use crate::index::Location;
use crate::pack::BlobKind;
use crate::relocate::{Relocated, Wanted, relocate};
use crate::repo::Opened;
use crate::session::Session;
use crate::tree::Tree;
use crate::walk::Walk;
use crate::{Counters, Result};

/// Blobs that are relocated from one look at the clock to the next.
const PART_BLOBS: usize = 1024;

/// Blobs that are to be copied.
#[derive(Default)]
pub(super) struct Missing {
    blobs: Vec<Wanted>,
}

impl Missing {
    /// What the target lacks of directories and everything below them, without what was `seen` before.
    pub(super) async fn below(
        source: &Arc<Opened>,
        target: &Arc<Session>,
        seen: &mut Walk,
        roots: Vec<Id>,
    ) -> Result<Self> {
        let ids = Arc::new(Mutex::new(BTreeSet::new()));
        let visitor = { (target.clone(), ids.clone()) };
        let visit = move |id: &Id, tree: Result<Tree>| {
            let (target, ids) = &visitor;
            let tree = tree?;
            let mut found = Vec::new();
            let mut last = None;
            for chunk in tree.nodes.iter().flat_map(|node| &node.content) {
                // Holes are long.
                if last != Some(chunk) && !target.is_present(BlobKind::Data, chunk)? {
                    found.push((BlobKind::Data, *chunk));
                }
                last = Some(chunk);
            }
            if !target.is_present(BlobKind::Tree, id)? {
                found.push((BlobKind::Tree, *id));
            }
            ids.lock().expect("no panic while held").extend(found);
            Ok(())
        };
        seen.below(&source.blobs, roots, visit).await?;
        let ids = std::mem::take(&mut *ids.lock().expect("no panic while held"));
        let mut blobs = Vec::with_capacity(ids.len());
        for (kind, id) in ids {
            blobs.push(Wanted { kind, id, location: source.blobs.locate(kind, &id)? });
        }
        blobs.sort_unstable_by_key(|blob| (blob.location.pack, blob.location.offset));
        Ok(Missing { blobs })
    }

    /// As they lie in their packs.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.blobs.chunks(PART_BLOBS).map(Part)
    }
}

pub(super) struct Part<'a>(&'a [Wanted]);

impl Part<'_> {
    /// Copies them. Where a copy of a blob is damaged, the others are tried.
    pub(super) async fn relocate(
        self,
        source: &Opened,
        target: &Arc<Session>,
        counters: &Arc<Counters>,
    ) -> Result<Relocated> {
        let mut moved = relocate(&source.blobs, self.0.to_vec(), target, counters).await?;
        for (wanted, error) in std::mem::take(&mut moved.damaged) {
            let others = source.index.locations(wanted.kind, &wanted.id)?;
            let others = others.into_iter().filter(|location| *location != wanted.location);
            if !try_others(source, target, counters, wanted, others, &mut moved).await? {
                return Err(error);
            }
        }
        Ok(moved)
    }
}

async fn try_others(
    source: &Opened,
    target: &Arc<Session>,
    counters: &Arc<Counters>,
    wanted: Wanted,
    others: impl Iterator<Item = Location>,
    moved: &mut Relocated,
) -> Result<bool> {
    for location in others {
        let again = relocate(&source.blobs, vec![Wanted { location, ..wanted }], target, counters).await?;
        moved.blobs += again.blobs;
        moved.read_bytes += again.read_bytes;
        if again.damaged.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
