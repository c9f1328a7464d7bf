//! Our lock file, which keeps a foreign `restic prune` away, and which is kept away by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::crypto::Key;
use crate::id::Id;
use crate::store::{Name, Store};
use crate::{Error, Result, machine, sealed};

#[cfg(test)]
mod tests;

/// restic takes a lock for abandoned when it is older than half an hour, and renews its own every five minutes.
const STALE_SECONDS: i64 = 30 * 60;
const REFRESH: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LockFile {
    time: Timestamp,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
}

impl LockFile {
    fn ours() -> Self {
        LockFile {
            time: Timestamp::now(),
            exclusive: false,
            hostname: machine::host_name(),
            username: machine::USER.to_owned(),
            pid: std::process::id(),
        }
    }

    /// restic's rule: too old, or its process is gone from this machine.
    pub(crate) fn is_stale(&self) -> bool {
        let age = Timestamp::now().as_second() - self.time.as_second();
        age > STALE_SECONDS || (self.hostname == machine::host_name() && !machine::process_exists(self.pid))
    }
}

/// A lock on the repository that others may share. It is renewed until it is dropped.
pub(crate) struct Lock {
    held: Arc<Held>,
    refresh: JoinHandle<()>,
}

struct Held {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    /// Name of the file; nothing while it was never written.
    id: std::sync::Mutex<Option<Id>>,
    /// When it was last written, in seconds.
    written_at: AtomicI64,
}

impl Held {
    async fn write(&self) -> Result<Id> {
        let file = LockFile::ours();
        let (id, content) = sealed::seal(&self.key, &file);
        self.store.put(Name::Lock(id), content).await?;
        self.written_at.store(file.time.as_second(), Ordering::Relaxed);
        Ok(id)
    }

    fn set(&self, id: Id) -> Option<Id> {
        self.id.lock().expect("no panic while held").replace(id)
    }

    fn id(&self) -> Option<Id> {
        *self.id.lock().expect("no panic while held")
    }

    fn is_fresh(&self) -> bool {
        Timestamp::now().as_second() - self.written_at.load(Ordering::Relaxed) < STALE_SECONDS
    }

    async fn is_there(&self) -> Result<bool> {
        let ours = self.id();
        Ok(self.store.list(Name::Lock).await?.iter().any(|(id, _)| Some(*id) == ours))
    }

    /// A new file, then the old one goes. Once lost, a lock is not taken again: too much may have happened.
    async fn refresh(&self) -> Result<()> {
        if !self.is_fresh() || !self.is_there().await? {
            return Err(Error::LockLost);
        }
        let id = self.write().await?;
        if let Some(old) = self.set(id) {
            self.store.remove(Name::Lock(old)).await?;
        }
        Ok(())
    }

    async fn refresh_for_ever(&self) {
        loop {
            tokio::time::sleep(REFRESH).await;
            match self.refresh().await {
                Ok(()) => {}
                Err(Error::LockLost) => return tracing::error!("the lock on the repository was lost"),
                Err(error) => tracing::warn!(%error, "the lock on the repository could not be renewed"),
            }
        }
    }

    fn release(&self) {
        if let Some(id) = self.id.lock().expect("no panic while held").take() {
            self.store.remove_now(Name::Lock(id));
        }
    }
}

impl Lock {
    /// Takes a shared lock, or says who holds an exclusive one.
    ///
    /// Whoever locks writes first and looks then, so that of two at least one sees the other.
    pub(crate) async fn take(store: Arc<dyn Store>, key: Arc<Key>) -> Result<Self> {
        refuse_exclusive(&*store, &key).await?;
        let held = Arc::new(Held { store, key, id: None.into(), written_at: 0.into() });
        let id = held.write().await?;
        held.set(id);
        let refresh = tokio::spawn({
            let held = held.clone();
            async move { held.refresh_for_ever().await }
        });
        let lock = Lock { held, refresh };
        for abandoned in refuse_exclusive(&*lock.held.store, &lock.held.key).await? {
            tracing::info!(lock = %abandoned, "removing a lock that we left behind when we were killed");
            lock.held.store.remove(Name::Lock(abandoned)).await?;
        }
        Ok(lock)
    }

    /// Is it certain that nobody has taken the repository from us in the meantime?
    pub(crate) async fn check(&self) -> Result<()> {
        if self.held.is_fresh() && self.held.is_there().await? { Ok(()) } else { Err(Error::LockLost) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.refresh.abort();
        self.held.release();
    }
}

/// Fails if anyone holds the repository for himself. Returns locks of ours that nobody holds any more.
async fn refuse_exclusive(store: &dyn Store, key: &Key) -> Result<Vec<Id>> {
    let mut abandoned = Vec::new();
    // Empty files are left behind where a restic was killed; it passes over them too.
    for (id, _) in store.list(Name::Lock).await?.into_iter().filter(|(_, len)| *len > 0) {
        let lock: LockFile = match sealed::read(store, key, Name::Lock(id)).await {
            Ok(lock) => lock,
            Err(Error::NotFound { .. }) => continue, // released or renewed in this moment
            Err(error) => return Err(error),
        };
        if lock.is_stale() {
            abandoned.extend((lock.username == machine::USER).then_some(id));
        } else if lock.exclusive {
            let LockFile { username, hostname, pid, time, .. } = lock;
            return Err(Error::Locked { by: format!("{username} on {hostname} (process {pid}) since {time}") });
        }
    }
    Ok(abandoned)
}
