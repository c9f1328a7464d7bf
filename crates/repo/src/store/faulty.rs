//! A store that fails when a test wants it to.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Directory, Kind, Name, Store};
use crate::id::Id;
use crate::{Error, Result};

/// What happens at the change (write or removal) that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails with this error, all others succeed.
    Once(io::ErrorKind),
    /// It fails and everything after it: as if the process had been killed, or the machine had died.
    Dead,
    /// The process kills itself before it.
    Kill,
    /// After it, all locks are gone: as if somebody had taken whoever holds them for dead.
    LoseLocks,
}

pub(crate) struct Faulty {
    store: Arc<dyn Store>,
    changes: AtomicUsize,
    at: usize,
    fault: Fault,
    locks_are_lost: AtomicBool,
}

impl Faulty {
    pub(crate) fn new(dir: &Path, at: usize, fault: Fault) -> Arc<Self> {
        Faulty::over(Arc::new(Directory::new(dir)), at, fault)
    }

    pub(crate) fn over(store: Arc<dyn Store>, at: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Faulty { store, changes: AtomicUsize::new(0), at, fault, locks_are_lost: AtomicBool::new(false) })
    }

    /// Changes that were asked for.
    pub(crate) fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    async fn lose_locks(&self) -> Result<()> {
        if self.fault == Fault::LoseLocks
            && self.changes() > self.at
            && !self.locks_are_lost.swap(true, Ordering::Relaxed)
        {
            for (id, _) in self.store.list(Name::Lock).await? {
                self.store.remove(Name::Lock(id)).await?;
            }
        }
        Ok(())
    }

    fn change(&self, name: Name) -> Result<()> {
        let number = self.changes.fetch_add(1, Ordering::Relaxed);
        let path = Path::new("faulty").join(name.to_string());
        match self.fault {
            Fault::Once(kind) if number == self.at => Err(Error::io(&path, kind.into())),
            Fault::Kill if number == self.at => {
                // Not an exit, nor an abort: nothing is cleared away, nothing is said.
                let pid = std::process::id().to_string();
                std::process::Command::new("kill")
                    .args(["-9", &pid])
                    .status()
                    .map_err(|error| Error::io(&path, error))?;
                loop {
                    std::thread::park();
                }
            }
            Fault::Dead if number >= self.at => Err(Error::io(&path, io::Error::other("dead"))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.store.prepare().await
    }

    async fn sweep(&self) {
        self.store.sweep().await;
    }

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        self.change(name)?;
        self.store.put(name, content).await?;
        self.lose_locks().await
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        self.store.get(name, max_bytes).await
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        self.store.get_range(name, offset, len, buffer).await
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        self.store.len(name).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.store.list(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.change(name)?;
        self.store.remove(name).await?;
        self.lose_locks().await
    }

    fn remove_now(&self, name: Name) {
        if self.change(name).is_ok() {
            self.store.remove_now(name);
        }
    }
}
