//! Chunks that were read lately, for reads at any place: shared by all disks of a repository, and bounded in bytes.

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::Result;
use crate::id::Id;

#[cfg(test)]
mod tests;

/// Bytes of chunks that are kept.
const CACHED_BYTES: u64 = 64 << 20;

#[derive(Clone)]
struct Length;

impl Weighter<Id, Bytes> for Length {
    fn weight(&self, _: &Id, chunk: &Bytes) -> u64 {
        chunk.len() as u64
    }
}

pub(crate) struct ChunkCache(Cache<Id, Bytes, Length>);

impl ChunkCache {
    pub(crate) fn new(chunk_bytes: u32) -> Self {
        ChunkCache::with_bytes(CACHED_BYTES, chunk_bytes)
    }

    fn with_bytes(bytes: u64, chunk_bytes: u32) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity((bytes / u64::from(chunk_bytes.max(1))) as usize)
            .weight_capacity(bytes)
            // A shard has its share of the bytes: in many of them, large chunks would find no room.
            .shards(1)
            .build()
            .expect("all that must be set is set");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        ChunkCache(Cache::with_options(options, Length, hasher, lifecycle))
    }

    /// A chunk, from memory if it is there. Whoever wants one that somebody else is just reading waits for him.
    pub(crate) async fn get_or_read(&self, id: &Id, read: impl Future<Output = Result<Bytes>>) -> Result<Bytes> {
        self.0.get_or_insert_async(id, read).await
    }
}
