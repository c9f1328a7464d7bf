//! The repositories that a mover has open: one handle each, whatever the number of jobs.
//!
//! Jobs that share a handle share its index, and never store the same chunk twice at the same time.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use xenkeep_api::{DatastoreAccess, DatastoreId};
use xenkeep_repo::{OpenOptions, Repo};

/// Open repositories.
#[derive(Default)]
pub(crate) struct Repos {
    slots: Mutex<HashMap<DatastoreId, Arc<Slot>>>,
    /// Where this machine keeps what it knows of repositories.
    cache_dir: Option<PathBuf>,
}

/// One opens at a time; the others wait and share.
type Slot = tokio::sync::Mutex<Option<Open>>;

struct Open {
    repo: Repo,
    /// With what it was opened.
    access: [u8; 32],
}

impl Repos {
    /// None yet.
    pub(crate) fn new(cache_dir: Option<PathBuf>) -> Self {
        Self { slots: Mutex::default(), cache_dir }
    }

    /// The repository of a datastore: the open one, if that is still what lies there.
    pub(crate) async fn open(&self, datastore: &DatastoreAccess) -> xenkeep_repo::Result<Repo> {
        let slot =
            Arc::clone(self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(datastore.id).or_default());
        let mut slot = slot.lock().await;
        let access = fingerprint(datastore);
        if let Some(open) = slot.as_ref()
            && open.access == access
            // A file system may have been unmounted, or another one mounted.
            && open.repo.is_in_place().await
        {
            return Ok(open.repo.clone());
        }
        *slot = None;
        let options = OpenOptions { cache_dir: self.cache_dir.clone(), ..OpenOptions::default() };
        let repo = Repo::open(Path::new(&datastore.path), &password(datastore), options).await?;
        *slot = Some(Open { repo: repo.clone(), access });
        Ok(repo)
    }
}

/// The password of a datastore.
pub(crate) fn password(datastore: &DatastoreAccess) -> SecretString {
    SecretString::from(datastore.password.expose())
}

/// Tells one way to open a datastore from another, without keeping its secrets.
fn fingerprint(datastore: &DatastoreAccess) -> [u8; 32] {
    let text = serde_json::to_vec(datastore).expect("what comes as JSON goes as JSON");
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests;
