//! Which points, disks and files need what is damaged? And is all that points need there?
//!
//! Every directory is read once, however many points share it. What it touches is noted when it is read; what is above
//! it follows when all points of a group have been read. So memory holds the directories that are touched, and the
//! outlines of one group of points.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::options::VerifyProgress;
use super::report::{AffectedPoint, UndecidedFile};
use super::small::chain;
use crate::damage::Damage;
use crate::id::Id;
use crate::index::{IdMap, IdSet, Location};
use crate::pack::BlobKind;
use crate::repo::Opened;
use crate::snapshot::Snapshot;
use crate::store::Name;
use crate::tree::{Node, NodeType, Tree};
use crate::walk::Walk;
use crate::write::DISKS_DIR;
use crate::{Error, Result, SnapshotId};

/// Points that are looked at together.
const GROUP: usize = 64;

/// Directories that cannot be read for now before it is given up.
const MAX_UNDECIDED: usize = 20;

/// Chunks without an index entry that are remembered one by one.
const MAX_UNNAMED: usize = 100_000;

/// Number of a damaged pack in a list of them.
pub(super) type Number = u32;

/// In place of a number: a chunk that no index file names.
pub(super) const UNNAMED: Number = Number::MAX;

type Touched = BTreeSet<Number>;

/// By number, the points that need something of it.
pub(super) type Affected = BTreeMap<Number, BTreeMap<SnapshotId, AffectedPoint>>;

/// What came of it.
#[derive(Default)]
pub(super) struct Traced {
    pub(super) points: u64,
    pub(super) affected: Affected,
    /// Packs of directories that could not be read, though nothing was known against them.
    pub(super) suspects: IdSet,
    /// Chunks (or directories) that no index file names.
    pub(super) unnamed: BTreeSet<(BlobKind, Id)>,
    pub(super) unnamed_count: u64,
    pub(super) undecided: Vec<UndecidedFile>,
}

/// What is known before.
pub(super) struct Known {
    pub(super) damage: Arc<Damage>,
    pub(super) numbers: IdMap<Number>,
}

struct Notes {
    repo: Arc<Opened>,
    known: Known,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    traced: Traced,
    touched: IdMap<Touched>,
    /// Directories of the present group and what is in them.
    edges: Vec<(Id, Vec<Id>)>,
}

/// Looks at all directories of all points.
pub(super) async fn trace(
    repo: &Arc<Opened>,
    known: Known,
    points: &[(SnapshotId, Snapshot)],
    progress: &VerifyProgress,
) -> Result<Traced> {
    let notes = Arc::new(Notes { repo: repo.clone(), known, found: Mutex::default() });
    let mut walk = Walk::default();
    progress.expect_points(points.len() as u64);
    for group in points.chunks(GROUP) {
        let visitor = notes.clone();
        let roots = group.iter().map(|(_, snapshot)| snapshot.tree);
        walk.below(&repo.blobs, roots, move |id, tree| visitor.visit(id, tree)).await?;
        notes.found().propagate();
        for (id, snapshot) in group {
            notes.attribute(*id, snapshot).await?;
            progress.point_done();
        }
    }
    let traced = std::mem::take(&mut notes.found().traced);
    Ok(Traced { points: points.len() as u64, ..traced })
}

impl Found {
    /// What is in a directory touches it too.
    fn propagate(&mut self) {
        let edges = std::mem::take(&mut self.edges);
        if self.touched.is_empty() {
            return;
        }
        loop {
            let mut changed = false;
            // Mostly, directories are read before what is in them.
            for (directory, inside) in edges.iter().rev() {
                let below: Touched = inside.iter().filter_map(|id| self.touched.get(id)).flatten().copied().collect();
                if !below.is_empty() {
                    let touched = self.touched.entry(*directory).or_default();
                    let before = touched.len();
                    touched.extend(below);
                    changed |= touched.len() > before;
                }
            }
            if !changed {
                return;
            }
        }
    }
}

impl Notes {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().expect("no panic while held")
    }

    /// Computes, and may read a page of the index: runs on worker threads.
    fn visit(&self, id: &Id, tree: Result<Tree>) -> Result<()> {
        let touched = match &tree {
            Ok(tree) => self.contents(&tree.nodes)?,
            Err(error) => self.unreadable(id, error)?,
        };
        let inside: Vec<Id> = tree.iter().flat_map(|tree| &tree.nodes).filter_map(|node| node.subtree).collect();
        let mut found = self.found();
        if !touched.is_empty() {
            found.touched.entry(*id).or_default().extend(touched);
        }
        if !inside.is_empty() {
            found.edges.push((*id, inside));
        }
        Ok(())
    }

    /// What the chunks of files touch.
    fn contents<'a>(&self, nodes: impl IntoIterator<Item = &'a Node>) -> Result<Touched> {
        let mut touched = Touched::new();
        let mut last = None;
        for chunk in nodes.into_iter().flat_map(|node| &node.content) {
            // Holes are long.
            if last != Some(chunk) {
                touched.extend(self.blob(BlobKind::Data, chunk)?);
            }
            last = Some(chunk);
        }
        Ok(touched)
    }

    /// What a blob touches, if there is no good copy of it.
    fn blob(&self, kind: BlobKind, id: &Id) -> Result<Touched> {
        let copies = self.repo.index.locations(kind, id)?;
        if copies.is_empty() {
            return Ok(self.unnamed(kind, id));
        }
        if copies.iter().any(|copy| self.is_good(copy, id)) {
            return Ok(Touched::new());
        }
        Ok(copies.iter().filter_map(|copy| self.known.numbers.get(&copy.pack)).copied().collect())
    }

    fn is_good(&self, copy: &Location, id: &Id) -> bool {
        !self.known.damage.is_damaged(&copy.pack, id)
    }

    fn unnamed(&self, kind: BlobKind, id: &Id) -> Touched {
        let mut found = self.found();
        let traced = &mut found.traced;
        // Where there is no room to know it again, it may be counted twice.
        if traced.unnamed.len() >= MAX_UNNAMED || traced.unnamed.insert((kind, *id)) {
            traced.unnamed_count += 1;
        }
        [UNNAMED].into()
    }

    fn unreadable(&self, id: &Id, error: &Error) -> Result<Touched> {
        let copies = self.repo.index.locations(BlobKind::Tree, id)?;
        if copies.is_empty() {
            return Ok(self.unnamed(BlobKind::Tree, id));
        }
        let good: Vec<&Location> = copies.iter().filter(|copy| self.is_good(copy, id)).collect();
        if good.is_empty() {
            return self.blob(BlobKind::Tree, id);
        }
        let mut found = self.found();
        let traced = &mut found.traced;
        if matches!(error, Error::Damaged { .. }) {
            traced.suspects.extend(good.iter().map(|copy| copy.pack));
        } else if traced.undecided.len() >= MAX_UNDECIDED {
            return Err(error.clone());
        }
        traced.undecided.push(UndecidedFile { name: format!("directory {id}"), why: chain(error) });
        Ok(Touched::new())
    }

    /// Says of a point that is touched which disks and files that concerns.
    async fn attribute(&self, id: SnapshotId, snapshot: &Snapshot) -> Result<()> {
        let Some(mut rest) = self.found().touched.get(&snapshot.tree).cloned() else { return Ok(()) };
        if self.is_gone(id).await? {
            return Ok(());
        }
        let empty = AffectedPoint {
            id,
            time: snapshot.time,
            root: snapshot.paths.join(", "),
            disks: Vec::new(),
            files: Vec::new(),
            whole: false,
        };
        for (name, is_disk, touched) in self.parts(snapshot).await? {
            for number in touched {
                rest.remove(&number);
                let mut found = self.found();
                let point = found.traced.affected.entry(number).or_default().entry(id).or_insert_with(|| empty.clone());
                if is_disk { &mut point.disks } else { &mut point.files }.push(name.clone());
            }
        }
        for number in rest {
            let mut found = self.found();
            found.traced.affected.entry(number).or_default().entry(id).or_insert(empty.clone()).whole = true;
        }
        Ok(())
    }

    async fn is_gone(&self, id: SnapshotId) -> Result<bool> {
        Ok(self.repo.store.len(Name::Snapshot(id.0)).await?.is_none())
    }

    /// Disks and files of a point of ours, and what each touches. Nothing if the way to them is lost.
    async fn parts(&self, snapshot: &Snapshot) -> Result<Vec<(String, bool, Touched)>> {
        let mut parts = Vec::new();
        let [root] = snapshot.paths.as_slice() else { return Ok(parts) };
        let mut tree = Some(snapshot.tree);
        for component in root.trim_start_matches('/').split('/') {
            let Some(found) = self.tree(tree).await? else { return Ok(parts) };
            tree = found.find(component).and_then(|node| node.subtree);
        }
        let Some(point) = self.tree(tree).await? else { return Ok(parts) };
        for node in point.nodes.iter().filter(|node| node.node_type == NodeType::File) {
            parts.push((node.shown_name(), false, self.contents([node])?));
        }
        let disks = point.find(DISKS_DIR).and_then(|node| node.subtree);
        for node in self.tree(disks).await?.iter().flat_map(|disks| &disks.nodes) {
            let touched = node.subtree.and_then(|tree| self.found().touched.get(&tree).cloned());
            parts.push((node.shown_name(), true, touched.unwrap_or_default()));
        }
        Ok(parts)
    }

    async fn tree(&self, id: Option<Id>) -> Result<Option<Tree>> {
        let Some(id) = id else { return Ok(None) };
        match self.repo.blobs.tree(id).await {
            Ok(tree) => Ok(Some(tree)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
