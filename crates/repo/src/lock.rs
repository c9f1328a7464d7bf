//! Our lock file, which keeps a foreign `restic prune` away, and which is kept away by one.
//!
//! restic knows shared and exclusive locks. Ours carry in addition which session holds them, and for what: so a prune of
//! ours can tell who was there when it marked packs, and a session knows that the exclusive lock of a sweep is no
//! reason to keep away.
//!
//! | beside …         | a foreign shared lock | a foreign exclusive one | our session | our prune | our sweep |
//! |------------------|-----------------------|-------------------------|-------------|-----------|-----------|
//! | our session      | works                 | is refused              | works       | works     | works     |
//! | our prune        | works                 | is refused              | works       | is refused | is refused |
//! | our sweep        | is refused            | is refused              | works       | (its own) | is refused |
//! | restic, shared   | works                 | is refused              | works       | works     | is refused |
//! | restic, exclusive | is refused           | is refused              | is refused  | is refused | is refused |
//!
//! Whoever locks writes first and looks then, so that of two at least one sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::crypto::Key;
use crate::id::Id;
use crate::store::{Name, Store};
use crate::{Error, Result, sealed};

mod file;
#[cfg(test)]
mod tests;

pub(crate) use file::{Holder, LockFile, Purpose, holders};
use file::{Ours, STALE_SECONDS, other_holders};

/// restic renews its own locks as often.
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// A lock on the repository. It is renewed until it is dropped.
pub(crate) struct Lock {
    held: Arc<Held>,
    refresh: JoinHandle<()>,
}

struct Held {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    ours: Ours,
    file: std::sync::Mutex<File>,
    /// When it was last written, in seconds.
    written_at: AtomicI64,
}

/// The lock's file.
#[derive(Default)]
struct File {
    /// Its name; nothing while it was never written.
    id: Option<Id>,
    /// Nobody holds the lock any more. If a file of it is still being written, that is to go at once.
    released: bool,
}

impl Held {
    fn file(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().expect("no panic while held")
    }

    async fn write(&self) -> Result<Id> {
        let file = LockFile::new(&self.ours);
        let (id, content) = sealed::seal(&self.key, &file);
        self.store.put(Name::Lock(id), content).await?;
        self.written_at.store(file.time.as_second(), Ordering::Relaxed);
        Ok(id)
    }

    /// Notes the new name, and gives back that of the file that is to go.
    fn set(&self, id: Id) -> Option<Id> {
        let mut file = self.file();
        if file.released { Some(id) } else { file.id.replace(id) }
    }

    fn id(&self) -> Option<Id> {
        self.file().id
    }

    fn is_fresh(&self) -> bool {
        Timestamp::now().as_second() - self.written_at.load(Ordering::Relaxed) < STALE_SECONDS
    }

    async fn is_there(&self) -> Result<bool> {
        loop {
            let before = self.id();
            let listed = self.store.list(Name::Lock).await?;
            if listed.iter().any(|(id, _)| Some(*id) == before) {
                return Ok(true);
            }
            if self.id() == before {
                return Ok(false);
            }
            // Renewed while we looked.
        }
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

    async fn refresh_for_ever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REFRESH).await;
            // A task of its own: if it is cut off half-way, a file may be left behind.
            let this = self.clone();
            let refreshed = tokio::spawn(async move { this.refresh().await }).await;
            match refreshed.unwrap_or(Err(Error::BrokenOff("the runtime shuts down"))) {
                Ok(()) => {}
                Err(Error::LockLost) => return tracing::error!("the lock on the repository was lost"),
                Err(error) => tracing::warn!(%error, "the lock on the repository could not be renewed"),
            }
        }
    }

    fn release(&self) {
        let mut file = self.file();
        file.released = true;
        let id = file.id.take();
        drop(file);
        if let Some(id) = id {
            self.store.remove_now(Name::Lock(id));
        }
    }
}

impl Lock {
    /// Takes a lock, or says who is in the way.
    pub(crate) async fn take(store: Arc<dyn Store>, key: Arc<Key>, purpose: Purpose) -> Result<Self> {
        let lock = Lock::write(store, key, purpose).await?;
        lock.look().await?;
        Ok(lock)
    }

    /// Writes a lock file. It is worth nothing before [`look`](Self::look) has said that nobody is in the way.
    pub(crate) async fn write(store: Arc<dyn Store>, key: Arc<Key>, purpose: Purpose) -> Result<Self> {
        // A task of its own: if the caller lets go half-way, the file goes all the same.
        let written = tokio::spawn(Lock::write_here(store, key, purpose)).await;
        written.unwrap_or(Err(Error::BrokenOff("the runtime shuts down")))
    }

    async fn write_here(store: Arc<dyn Store>, key: Arc<Key>, purpose: Purpose) -> Result<Self> {
        let ours = Ours::new(purpose);
        if purpose != Purpose::Session {
            // Of these there is one at a time: who comes second shall not be seen by who is just coming first. The lock of
            // a session disturbs nobody, and a store that is far away takes its time for each look.
            refuse(&*store, &key, &ours, None).await?;
        }
        let held = Arc::new(Held { store, key, ours, file: Default::default(), written_at: 0.into() });
        let id = held.write().await?;
        held.set(id);
        let refresh = tokio::spawn(held.clone().refresh_for_ever());
        Ok(Lock { held, refresh })
    }

    /// Says who is in the way, if anybody is.
    pub(crate) async fn look(&self) -> Result<()> {
        let Held { store, key, ours, .. } = &*self.held;
        for abandoned in refuse(&**store, key, ours, self.held.id()).await? {
            tracing::info!(lock = %abandoned, "removing a lock that we left behind when we were killed");
            store.remove(Name::Lock(abandoned)).await?;
        }
        Ok(())
    }

    /// Is it certain that nobody has taken the repository from us in the meantime?
    pub(crate) async fn check(&self) -> Result<()> {
        if self.is_fresh() && self.held.is_there().await? { Ok(()) } else { Err(Error::LockLost) }
    }

    /// Was it renewed in time, as far as our clock says?
    pub(crate) fn is_fresh(&self) -> bool {
        self.held.is_fresh()
    }

    /// The session that holds it.
    pub(crate) fn session(&self) -> Uuid {
        self.held.ours.session
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.refresh.abort();
        self.held.release();
    }
}

/// Fails if there is somebody beside whom we must not work. Returns locks of ours that nobody holds any more.
async fn refuse(store: &dyn Store, key: &Key, ours: &Ours, own: Option<Id>) -> Result<Vec<Id>> {
    let mut abandoned = Vec::new();
    for holder in other_holders(store, key, own).await? {
        if holder.session == Some(ours.session) {
            continue;
        }
        if holder.stale {
            abandoned.extend(holder.session.map(|_| holder.id));
        } else if is_in_the_way(&holder, ours.purpose) {
            return Err(holder.refusal());
        }
    }
    Ok(abandoned)
}

fn is_in_the_way(holder: &Holder, of: Purpose) -> bool {
    match (holder.session, holder.purpose, of) {
        (None, _, Purpose::Sweep) => true,
        (None, _, Purpose::Session | Purpose::Prune) => holder.exclusive,
        (Some(_), Purpose::Prune | Purpose::Sweep, Purpose::Prune) => true,
        (Some(_), Purpose::Sweep, Purpose::Sweep) => true,
        (Some(_), _, _) => false,
    }
}
