#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Barrier;

use super::*;
use crate::Error;

fn chunk(number: u8) -> (Id, Bytes) {
    let bytes = Bytes::from(vec![number; 1000]);
    (Id::of(&bytes), bytes)
}

#[tokio::test]
async fn it_keeps_no_more_bytes_than_it_may() {
    let cache = ChunkCache::with_bytes(10_000, 1000);
    for number in 0..100 {
        let (id, bytes) = chunk(number);
        assert_eq!(cache.get_or_read(&id, async { Ok(bytes.clone()) }).await.unwrap(), bytes);
        // What was read last is there.
        let again = cache.get_or_read(&id, async { Err(Error::LockLost) }).await;
        assert_eq!(again.unwrap(), bytes);
        assert!(cache.0.weight() <= 10_000, "{}", cache.0.weight());
    }
    assert!(cache.0.len() >= 5, "{}", cache.0.len());
    // One that has no room is read, and not kept.
    let large = Bytes::from(vec![1; 20_000]);
    assert_eq!(cache.get_or_read(&Id::of(&large), async { Ok(large.clone()) }).await.unwrap(), large);
    assert!(cache.0.weight() <= 10_000);
}

#[tokio::test]
async fn a_chunk_is_read_once_for_all_who_want_it() {
    let cache = Arc::new(ChunkCache::with_bytes(10_000, 1000));
    let (reads, all_here) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(8)));
    let (id, bytes) = chunk(1);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (cache, reads, all_here, bytes) = (cache.clone(), reads.clone(), all_here.clone(), bytes.clone());
        tasks.spawn(async move {
            all_here.wait().await;
            let read = async {
                // The first one fails, after the others have had time to come.
                tokio::task::yield_now().await;
                if reads.fetch_add(1, Ordering::Relaxed) == 0 { Err(Error::LockLost) } else { Ok(bytes) }
            };
            cache.get_or_read(&id, read).await
        });
    }
    let failed = tasks.join_all().await.into_iter().filter(Result::is_err).count();
    assert_eq!(
        (reads.load(Ordering::Relaxed), failed),
        (2, 1),
        "a failure is told to whoever read, another reads again"
    );
}
