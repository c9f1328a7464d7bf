//! A store that is far away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Kind, Name, Store};
use crate::Result;
use crate::id::Id;

/// Each request takes this much longer, however many there are at once: what the distance to a store does.
pub(crate) struct Delayed {
    store: Arc<dyn Store>,
    delay: Duration,
}

impl Delayed {
    /// The store itself, if there is no delay.
    pub(crate) fn over(store: Arc<dyn Store>, delay: Duration) -> Arc<dyn Store> {
        if delay.is_zero() { store } else { Arc::new(Delayed { store, delay }) }
    }

    async fn wait(&self) {
        tokio::time::sleep(self.delay).await;
    }
}

#[async_trait]
impl Store for Delayed {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.wait().await;
        self.store.prepare().await
    }

    async fn sweep(&self) {
        self.wait().await;
        self.store.sweep().await;
    }

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        self.wait().await;
        self.store.put(name, content).await
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        self.wait().await;
        self.store.get(name, max_bytes).await
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        self.wait().await;
        self.store.get_range(name, offset, len, buffer).await
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        self.wait().await;
        self.store.len(name).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.wait().await;
        self.store.list(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.wait().await;
        self.store.remove(name).await
    }

    fn remove_now(&self, name: Name) {
        self.store.remove_now(name);
    }
}
