//! What is going to be deleted, and who may still need it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto::Key;
use crate::id::Id;
use crate::index::IdSet;
use crate::store::{self, Name, Store};
use crate::{Error, Result, sealed};

/// A mark file names at most so many packs, some 2 MiB.
pub(super) const MARK_PACKS: usize = 20_000;

/// A mark file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// When it was written.
    pub(super) at: Timestamp,
    /// Packs that index files name. No session that begins from now on refers to what is in them.
    pub(super) packs: Vec<MarkedPack>,
    /// Packs that no index file names, so that nobody can refer to what is in them, but for whoever has just written them.
    pub(super) orphans: Vec<MarkedPack>,
    /// The points that were looked at, by the first digits of their ids: nothing of what they need is marked.
    pub(super) points: Vec<String>,
    /// The sessions that were there when the mark stood: they may refer to all of it. If they are missing, whoever was about
    /// to note them was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sessions: Option<Vec<Noted>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkedPack {
    pub(super) id: Id,
    pub(super) bytes: u64,
}

/// A session that a mark waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(super) session: Uuid,
    pub(super) who: String,
    pub(super) since: Timestamp,
}

/// Enough of a point's id for a mark.
pub(super) fn short(point: &Id) -> String {
    hex::encode(&point.as_bytes()[..8])
}

impl Mark {
    /// Was this point looked at before the mark was written?
    pub(super) fn knows(&self, point: &Id) -> bool {
        self.points.contains(&short(point))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &MarkedPack> {
        self.packs.iter().chain(&self.orphans)
    }

    pub(super) async fn write(&self, store: &dyn Store, key: &Key) -> Result<Id> {
        let (id, content) = sealed::seal(key, self);
        store.put(Name::Mark(id), content).await?;
        Ok(id)
    }
}

/// All marks. One that is replaced meanwhile is not missed.
pub(super) async fn read_all(store: &dyn Store, key: &Key) -> Result<Vec<(Id, Mark)>> {
    loop {
        let mut marks = Vec::new();
        let mut vanished = false;
        for (id, _) in store::list_settled(store, Name::Mark).await? {
            match sealed::read(store, key, Name::Mark(id)).await {
                Ok(mark) => marks.push((id, mark)),
                Err(Error::NotFound { .. }) => vanished = true,
                Err(error) => return Err(error),
            }
        }
        if !vanished {
            return Ok(marks);
        }
    }
}

/// The packs to which a session must not refer, because they were marked before it began.
#[derive(Default)]
pub(crate) struct Excluded {
    marks: IdSet,
    packs: IdSet,
}

impl Excluded {
    /// What is marked now. Call it when the session's lock stands: a prune looks for locks when its mark stands, so that
    /// one sees the other.
    pub(crate) async fn load(store: &dyn Store, key: &Key) -> Result<Self> {
        let marks = read_all(store, key).await?;
        let packs = marks.iter().flat_map(|(_, mark)| &mark.packs).map(|pack| pack.id).collect();
        Ok(Excluded { marks: marks.into_iter().map(|(id, _)| id).collect(), packs })
    }

    pub(super) fn of(packs: IdSet) -> Self {
        Excluded { marks: IdSet::default(), packs }
    }

    pub(crate) fn packs(&self) -> IdSet {
        self.packs.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    pub(crate) fn has(&self, pack: &Id) -> bool {
        self.packs.contains(pack)
    }

    /// Are all marks that stand now known? Those that are gone do no harm; one that is missed finds the session's lock.
    pub(crate) async fn is_current(&self, store: &dyn Store) -> Result<bool> {
        let listed = store.list(Name::Mark).await?;
        Ok(listed.iter().all(|(id, _)| self.marks.contains(id)))
    }
}
