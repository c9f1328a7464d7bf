#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;

use super::*;
use crate::store::Directory;
use crate::store::faulty::{Fault, Faulty};

struct Bench {
    _dir: tempfile::TempDir,
    session: Arc<Session>,
    index: Arc<Index>,
    counters: Counters,
}

/// A session whose store fails at one of its changes (the lock is not among them).
async fn bench(at: usize, fault: Fault) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    Directory::new(Path::new(&root)).prepare().await.unwrap();
    let store: Arc<dyn Store> = Faulty::new(&root, at, fault);
    let key = Arc::new(Key::random());
    let index = Index::new(store.clone(), key.clone());
    let session = {
        let damage = Arc::new(KnownDamage::new(store.clone(), key.clone()));
        Session::new(store, key, index.clone(), damage, None)
    };
    Bench { _dir: dir, session, index, counters: Counters::default() }
}

impl Bench {
    fn put(&self, kind: BlobKind, raw: &[u8]) -> Result<Id> {
        let id = Id::of(raw);
        self.session.put(kind, id, raw, None, &self.counters).map(|()| id)
    }
}

const NEVER: usize = usize::MAX;

#[tokio::test]
async fn blobs_are_claimed_once_and_indexed_by_a_flush() {
    let bench = bench(NEVER, Fault::Dead).await;
    let id = bench.put(BlobKind::Data, &[7; 1000]).unwrap();
    bench.put(BlobKind::Data, &[7; 1000]).unwrap();
    assert_eq!(bench.counters.new_bytes(), 1000);
    assert!(!bench.index.contains(BlobKind::Data, &id).unwrap());
    bench.session.flush().await.unwrap();
    let location = bench.index.location(BlobKind::Data, &id).unwrap().unwrap();
    assert_eq!((location.raw_len, location.offset), (Some(1000), 0));
    assert!(bench.session.state().claimed_data.is_empty());
    bench.put(BlobKind::Data, &[7; 1000]).unwrap();
    assert_eq!(bench.counters.new_bytes(), 1000, "known from the index");
    bench.put(BlobKind::Tree, &[7; 1000]).unwrap();
    assert!(bench.session.state().open_trees.is_some(), "a tree is another thing than data");
    bench.session.flush().await.unwrap();
    bench.session.flush().await.unwrap();
}

#[tokio::test]
async fn a_flush_waits_for_what_others_are_just_storing() {
    let bench = bench(NEVER, Fault::Dead).await;
    let raw = [7; 1000];
    let id = Id::of(&raw);
    let mut claim = bench.session.claim(BlobKind::Data, id).unwrap().unwrap();
    // We refer to it, and want all that we refer to to be durable.
    assert_eq!(bench.put(BlobKind::Data, &raw).unwrap(), id);
    let flush = bench.session.flush();
    tokio::pin!(flush);
    assert!(futures::poll!(&mut flush).is_pending());
    let sealed = bench.session.key.seal(&raw);
    bench.session.add(BlobKind::Data, id, &sealed, None, None);
    claim.stored = true;
    drop(claim);
    flush.await.unwrap();
    assert!(bench.index.contains(BlobKind::Data, &id).unwrap());
}

#[tokio::test]
async fn what_does_not_shrink_is_stored_as_it_is() {
    let bench = bench(NEVER, Fault::Dead).await;
    let noise: Vec<u8> = (0..4000).map(|_| rand::random()).collect();
    let id = bench.put(BlobKind::Data, &noise).unwrap();
    bench.session.flush().await.unwrap();
    let location = bench.index.location(BlobKind::Data, &id).unwrap().unwrap();
    assert_eq!((location.raw_len, location.sealed_len), (None, 4032));
}

#[tokio::test]
async fn a_pack_that_cannot_be_stored_fails_the_session() {
    // The pack of data, the pack of trees, the index file.
    for at in 0..3 {
        let bench = bench(at, Fault::Once(io::ErrorKind::StorageFull)).await;
        bench.put(BlobKind::Data, b"some data").unwrap();
        bench.put(BlobKind::Tree, b"a tree").unwrap();
        assert!(matches!(bench.session.flush().await, Err(Error::Full { .. })), "{at}");
        assert!(matches!(bench.put(BlobKind::Data, b"more"), Err(Error::Full { .. })));
        assert!(matches!(bench.session.flush().await, Err(Error::Full { .. })));
        bench.session.settle().await;
        assert_eq!(bench.session.budget.available_permits(), BUDGET_BYTES);
    }
}

#[tokio::test]
async fn the_budget_travels_with_the_bytes_and_comes_back() {
    let bench = bench(NEVER, Fault::Dead).await;
    let permit = bench.session.admit(1 << 20).await.unwrap();
    let raw = vec![1; 1 << 20];
    bench.session.put(BlobKind::Data, Id::of(&raw), &raw, Some(permit), &bench.counters).unwrap();
    let held = BUDGET_BYTES - bench.session.budget.available_permits();
    assert_eq!(held as u64, bench.counters.stored_bytes(), "as much as lies in the open pack");
    bench.session.flush().await.unwrap();
    assert_eq!(bench.session.budget.available_permits(), BUDGET_BYTES);
}

#[tokio::test]
async fn packs_are_closed_when_they_are_full() {
    let bench = bench(NEVER, Fault::Dead).await;
    let mut noise = vec![0; 3 << 20];
    for number in 0..12_u8 {
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut noise);
        noise[0] = number;
        bench.put(BlobKind::Data, &noise).unwrap();
    }
    bench.session.flush().await.unwrap();
    let mut sizes: Vec<u64> =
        bench.session.store.list(Name::Pack).await.unwrap().into_iter().map(|(_, len)| len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size <= (PACK_BYTES + HEADER_ROOM) as u64), "{sizes:?}");
    assert_eq!(bench.session.state().spare.as_ref().map(BytesMut::is_empty), Some(false), "a buffer is kept");
}
