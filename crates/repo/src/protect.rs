//! Which points stay: protecting them from removal, and removing the others.
//!
//! A protection is a file `xenkeep/protected/<id>` that names the point. It binds us; restic does not know it.
//!
//! Removing a point is two steps. Somebody may be reading it, or storing an increment over it, in a session that began
//! after a prune has marked packs; if the point itself was stored after that, marked packs may be all that holds its
//! chunks, and the sweep would not know that anyone still needs them. So it is first noted in `xenkeep/forgotten` what
//! is removed, and only then the snapshot goes. A sweep spares what is below forgotten points, too; the next mark,
//! which no session that has seen the point can miss, clears the note away.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::Key;
use crate::id::Id;
use crate::store::{Name, Store};
use crate::{Error, Repo, Result, SnapshotId, sealed};

#[cfg(test)]
mod tests;

/// Why a point must not be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// What whoever protected it has said.
    pub reason: String,
    /// When that was.
    pub at: Timestamp,
}

/// Reasons are sentences, not documents.
const MAX_REASON_BYTES: usize = 4 << 10;

#[derive(Serialize, Deserialize)]
pub(crate) struct ProtectionFile {
    point: SnapshotId,
    #[serde(flatten)]
    protection: Protection,
}

/// A point that was removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    pub(crate) point: SnapshotId,
    pub(crate) tree: Id,
    pub(crate) at: Timestamp,
}

/// All notes of points that were removed.
pub(crate) async fn forgotten(store: &dyn Store, key: &Key) -> Result<Vec<(Id, Forgotten)>> {
    let mut found = Vec::new();
    for (id, _) in store.list(Name::Forgotten).await? {
        match sealed::read(store, key, Name::Forgotten(id)).await {
            Ok(forgotten) => found.push((id, forgotten)),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What is protected, and by which files.
#[derive(Default)]
pub(crate) struct Protections {
    by_point: HashMap<SnapshotId, (Protection, Vec<Id>)>,
    /// The first file that could not be read. It may protect any point.
    damaged: Option<Error>,
}

impl Protections {
    pub(crate) fn of(&self, point: &SnapshotId) -> Option<&Protection> {
        self.by_point.get(point).map(|(protection, _)| protection)
    }

    fn files(&self, point: &SnapshotId) -> &[Id] {
        self.by_point.get(point).map_or(&[], |(_, files)| files)
    }

    /// Of several for the same point, the newest counts.
    fn add(&mut self, id: Id, file: ProtectionFile) {
        let (known, files) = self.by_point.entry(file.point).or_insert_with(|| (file.protection.clone(), Vec::new()));
        if known.at < file.protection.at {
            *known = file.protection;
        }
        files.push(id);
    }
}

impl Repo {
    pub(crate) async fn protections(&self) -> Result<Protections> {
        let mut found = Protections::default();
        for (id, _) in self.0.store.list(Name::Protection).await? {
            match sealed::read(&*self.0.store, &self.0.key, Name::Protection(id)).await {
                Ok(file) => found.add(id, file),
                Err(Error::NotFound { .. }) => {} // replaced or removed in this moment
                Err(error @ Error::Damaged { .. }) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the protection of a point cannot be read"
                    );
                    found.damaged.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Protects a point from removal by anyone who works with this crate. A new reason replaces the old one.
    pub async fn protect(&self, id: &SnapshotId, reason: &str) -> Result<()> {
        if reason.trim().is_empty() || reason.len() > MAX_REASON_BYTES {
            return Err(Error::Invalid("a point is protected for a reason, in a sentence or two".to_owned()));
        }
        let old = self.protections().await?;
        let protection = Protection { reason: reason.to_owned(), at: Timestamp::now() };
        let (name, content) = sealed::seal(&self.0.key, &ProtectionFile { point: *id, protection });
        self.0.store.put(Name::Protection(name), content).await?;
        // Written first and looked then: whoever removes it at this moment looks for protections last.
        if let Err(error) = self.0.snapshot(id).await {
            self.0.store.remove(Name::Protection(name)).await?;
            return Err(error);
        }
        for file in old.files(id) {
            self.0.store.remove(Name::Protection(*file)).await?;
        }
        Ok(())
    }

    /// Lets a point be removed again. It is no error if it was not protected.
    pub async fn unprotect(&self, id: &SnapshotId) -> Result<()> {
        for file in self.protections().await?.files(id) {
            self.0.store.remove(Name::Protection(*file)).await?;
        }
        Ok(())
    }

    /// Removes a point, unless it is protected. Its chunks stay until a prune; other points are not touched.
    pub async fn remove_point(&self, id: &SnapshotId) -> Result<()> {
        let tree = match self.0.snapshot(id).await {
            Ok(snapshot) => Some(snapshot.tree),
            // Nobody can have opened it.
            Err(Error::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        self.refuse_protected(id).await?;
        if let Some(tree) = tree {
            let forgotten = Forgotten { point: *id, tree, at: Timestamp::now() };
            let (name, content) = sealed::seal(&self.0.key, &forgotten);
            self.0.store.put(Name::Forgotten(name), content).await?;
            self.refuse_protected(id).await?;
        }
        self.0.store.remove(Name::Snapshot(id.0)).await
    }

    async fn refuse_protected(&self, id: &SnapshotId) -> Result<()> {
        let protections = self.protections().await?;
        if let Some(protection) = protections.of(id) {
            return Err(Error::Protected { reason: protection.reason.clone() });
        }
        protections.damaged.map_or(Ok(()), Err)
    }
}
