//! The passwords of a repository: each is a key file that holds the same master key.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::id::Id;
use crate::keyfile::{self, Kdf};
use crate::store::Name;
use crate::{Error, Repo, Result, work};

/// Id of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) Id);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(KeyId).map_err(|bad: crate::id::BadId| Error::Invalid(bad.to_string()))
    }
}

/// A password of a repository, as its key file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMeta {
    /// Its id.
    pub id: KeyId,
    /// What it is called, or whose it is (restic's `username`).
    pub name: String,
    /// The machine on which it was added.
    pub host: String,
    /// When it was added.
    pub created: Timestamp,
    /// This repository was opened with it.
    pub in_use: bool,
}

impl Repo {
    /// The passwords, oldest first. Key files that cannot be read are an error: nobody shall take a key for the last one
    /// because another was not seen.
    pub async fn keys(&self) -> Result<Vec<KeyMeta>> {
        let mut keys = Vec::new();
        for (id, content) in keyfile::all(&*self.0.store).await? {
            let (created, name, host) = keyfile::describe(&content)?;
            keys.push(KeyMeta { id: KeyId(id), name, host, created, in_use: id == self.0.key_id });
        }
        keys.sort_by_key(|key| (key.created, key.id));
        Ok(keys)
    }

    /// Adds a password: whoever has it can read and write everything here, with us or with restic.
    pub async fn add_key(&self, password: &SecretString, name: &str, kdf: Kdf) -> Result<KeyMeta> {
        use secrecy::ExposeSecret as _;
        if password.expose_secret().is_empty() {
            return Err(Error::Invalid("an empty password protects nothing".to_owned()));
        }
        let (key, password, name) = (self.0.key.clone(), password.clone(), name.to_owned());
        let (id, content) = work::block(move || keyfile::seal_as(&key, &password, kdf, &name)).await??;
        self.0.store.put(Name::Key(id), content.clone()).await?;
        let (created, name, host) = keyfile::describe(&content)?;
        Ok(KeyMeta { id: KeyId(id), name, host, created, in_use: false })
    }

    /// Removes a password. The one that this repository was opened with stays, so that there is always one left.
    ///
    /// Who has read the repository with it may have kept the master key: what must stay secret from them has to go to
    /// a new repository.
    pub async fn remove_key(&self, id: &KeyId) -> Result<()> {
        let store = &self.0.store;
        if id.0 == self.0.key_id {
            return Err(Error::KeyInUse { id: *id });
        }
        if store.len(Name::Key(id.0)).await?.is_none() {
            return Err(Error::NotFound { what: format!("key {id}") });
        }
        if store.len(Name::Key(self.0.key_id)).await?.is_none() {
            return Err(Error::Invalid(
                "the key that this repository was opened with is gone: open it anew".to_owned(),
            ));
        }
        store.remove(Name::Key(id.0)).await
    }
}
