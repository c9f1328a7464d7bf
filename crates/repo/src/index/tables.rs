use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::packs::Packs;
use super::recent::{Recent, Slot};
use super::run::Run;
use super::{Location, PackEntries};
use crate::id::Id;
use crate::pack::BlobKind;

/// What look-ups need. A blob may be in the memory of recent ones and in any of the runs.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) packs: Packs,
    pub(super) recent: Recent,
    /// Oldest first.
    pub(super) runs: Vec<Arc<Run>>,
}

/// A run cannot be read, or is not what it was.
pub(super) struct BrokenRun {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// How many copies of a blob are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    One,
    All,
}

impl Tables {
    /// Takes in what an index file says.
    pub(super) fn add(&mut self, file: Id, packs: &[PackEntries]) {
        for (number, pack) in self.packs.add_file(file, packs) {
            for entry in &pack.entries {
                self.recent.add(entry.id, Slot::new(number, entry));
            }
        }
    }

    /// Copies of a blob in packs that are not dead.
    pub(super) fn find(&self, kind: BlobKind, id: &Id, wanted: Wanted) -> Result<Vec<Location>, BrokenRun> {
        let mut found = Vec::new();
        let mut visit = |slot: Slot| {
            let location = Some(slot).filter(|slot| slot.kind() == kind).and_then(|slot| self.packs.locate(&slot));
            found.extend(location.filter(|location| !found.contains(location)));
            wanted == Wanted::One && !found.is_empty()
        };
        let mut done = false;
        self.recent.of(id).for_each(|slot| done |= visit(*slot));
        for run in self.runs.iter().rev() {
            if done {
                break;
            }
            let broken = |source| BrokenRun { path: run.path.clone(), source };
            run.find(id, |slot| done |= visit(slot)).map_err(broken)?;
        }
        Ok(found)
    }
}
