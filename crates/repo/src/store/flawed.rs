//! A store that does not do what it says.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Kind, Name, Store};
use crate::id::Id;
use crate::{Error, Result};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Everything fails so many times before it goes well.
    Fails(usize),
    /// Everything takes its time, now more, now less.
    Delays,
    /// This write is confirmed and forgotten.
    Forgets(usize),
    /// Of this write only the first half is kept.
    CutsWrite(usize),
    /// In this write, a bit is turned over.
    SpoilsWrite(usize),
    /// Of this read, only the first half comes back, as if that were all.
    CutsRead(usize),
    /// In this read, a bit is turned over.
    SpoilsRead(usize),
}

pub(crate) struct Flawed {
    store: Arc<dyn Store>,
    flaw: Flaw,
    writes: AtomicUsize,
    reads: AtomicUsize,
    failures: Mutex<HashMap<String, usize>>,
}

impl Flawed {
    pub(crate) fn new(store: Arc<dyn Store>, flaw: Flaw) -> Arc<Self> {
        let (writes, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Flawed { store, flaw, writes, reads, failures: Mutex::default() })
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    async fn request(&self, what: impl Into<String>) -> Result<()> {
        match self.flaw {
            Flaw::Fails(times) => {
                let mut failures = self.failures.lock().unwrap();
                let failed = failures.entry(what.into()).or_default();
                *failed += 1;
                if *failed <= times {
                    return Err(Error::io(Path::new("flawed"), io::ErrorKind::TimedOut.into()));
                }
                *failed = 0;
                Ok(())
            }
            Flaw::Delays => {
                tokio::time::sleep(Duration::from_micros(rand::random_range(0..5000))).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read(&self, content: &[u8]) -> Bytes {
        let number = self.reads.fetch_add(1, Ordering::Relaxed);
        match self.flaw {
            Flaw::CutsRead(at) if at == number => Bytes::copy_from_slice(&content[..content.len() / 2]),
            Flaw::SpoilsRead(at) if at == number => spoilt(content),
            _ => Bytes::copy_from_slice(content),
        }
    }
}

fn spoilt(content: &[u8]) -> Bytes {
    let mut spoilt = BytesMut::from(content);
    if let Some(byte) = spoilt.last_mut() {
        *byte ^= 0x10;
    }
    spoilt.freeze()
}

#[async_trait]
impl Store for Flawed {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.request("prepare").await?;
        self.store.prepare().await
    }

    async fn sweep(&self) {}

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        self.request(format!("put {name}")).await?;
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let content = match self.flaw {
            Flaw::Forgets(at) if at == number => return Ok(()),
            Flaw::CutsWrite(at) if at == number => content.slice(..content.len() / 2),
            Flaw::SpoilsWrite(at) if at == number => spoilt(&content),
            _ => content,
        };
        self.store.put(name, content).await
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        self.request(format!("get {name}")).await?;
        Ok(self.read(&self.store.get(name, max_bytes).await?))
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        self.request(format!("get {name}")).await?;
        Ok(self.read(&self.store.get_range(name, offset, len, buffer).await?).into())
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        self.request(format!("len {name}")).await?;
        self.store.len(name).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.request(format!("list {}", kind(Id::from_bytes([0; 32])))).await?;
        self.store.list(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.request(format!("remove {name}")).await?;
        self.store.remove(name).await
    }

    fn remove_now(&self, name: Name) {
        self.store.remove_now(name);
    }
}
