//! What every store must do.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Kind, Name, Store};
use crate::Error;
use crate::id::Id;

const KINDS: [Kind; 10] = [
    Name::Key,
    Name::Lock,
    Name::Index,
    Name::Snapshot,
    Name::Pack,
    Name::Mark,
    Name::Forgotten,
    Name::Damage,
    Name::Verified,
    Name::Protection,
];

/// `store` is at a place that is empty or not there; its tests own it alone.
pub(crate) async fn suite(store: Arc<dyn Store>) {
    store.prepare().await.unwrap();
    for kind in KINDS {
        assert_eq!(store.list(kind).await.unwrap(), []);
        one_file(&*store, kind).await;
    }
    config(&*store).await;
    edges(&*store).await;
    many_at_once(&*store).await;
    gone_at_once(&*store).await;
    nothing_is_prepared_over_what_is_there(&*store).await;
}

async fn one_file(store: &dyn Store, kind: Kind) {
    let id = Id::of(b"content");
    let name = kind(id);
    assert_eq!(store.len(name).await.unwrap(), None);
    store.put(name, "content".into()).await.unwrap();
    assert_eq!(store.len(name).await.unwrap(), Some(7));
    assert_eq!(store.get(name, 7).await.unwrap(), "content");
    let buffer = vec![9; 100];
    assert_eq!(store.get_range(name, 2, 3, buffer).await.unwrap(), b"nte");
    assert_eq!(store.get_range(name, 0, 7, Vec::new()).await.unwrap(), b"content");
    assert_eq!(store.list(kind).await.unwrap(), [(id, 7)]);
    // What is written again is the same: the name says so.
    store.put(name, "content".into()).await.unwrap();
    assert_eq!(store.list(kind).await.unwrap(), [(id, 7)]);

    assert!(matches!(store.get(name, 6).await, Err(Error::Damaged { .. })));
    for (offset, len) in [(5, 3), (7, 1), (8, 1), (u64::from(u32::MAX), 1)] {
        let read = store.get_range(name, offset, len, Vec::new()).await;
        assert!(matches!(read, Err(Error::Damaged { .. })), "{offset} {len}: {read:?}");
    }
    let beyond = store.get_range(name, u64::MAX, 1, Vec::new()).await;
    assert!(matches!(beyond, Err(Error::Io { .. } | Error::Damaged { .. })), "{beyond:?}");

    store.remove(name).await.unwrap();
    store.remove(name).await.unwrap();
    assert_eq!(store.len(name).await.unwrap(), None);
    assert!(matches!(store.get(name, 7).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get_range(name, 0, 1, Vec::new()).await, Err(Error::NotFound { .. })));
    assert_eq!(store.list(kind).await.unwrap(), []);
}

async fn config(store: &dyn Store) {
    assert!(matches!(store.get(Name::Config, 100).await, Err(Error::NotFound { .. })));
    store.put(Name::Config, "config".into()).await.unwrap();
    assert_eq!(store.get(Name::Config, 100).await.unwrap(), "config");
    assert_eq!(store.len(Name::Config).await.unwrap(), Some(6));
}

async fn edges(store: &dyn Store) {
    let empty = Name::Index(Id::of(b""));
    store.put(empty, Bytes::new()).await.unwrap();
    assert_eq!(store.get(empty, 0).await.unwrap(), "");
    assert_eq!(store.list(Name::Index).await.unwrap(), [(Id::of(b""), 0)]);
    assert_eq!(store.get_range(empty, 0, 0, vec![1]).await.unwrap(), b"");
    store.remove(empty).await.unwrap();
}

async fn many_at_once(store: &dyn Store) {
    let content = |number: u32| Bytes::from(number.to_le_bytes().repeat(64 << 10));
    let name = |number| Name::Pack(Id::of(&content(number)));
    let puts = stream::iter(0..20).map(|number| store.put(name(number), content(number)));
    puts.buffer_unordered(8).try_collect::<()>().await.unwrap();
    let mut listed = store.list(Name::Pack).await.unwrap();
    let mut expected: Vec<_> = (0..20).map(|number| (Id::of(&content(number)), 256 << 10)).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);

    let reads = (0..64_u32).map(|read| {
        let (number, at) = (read % 20, (read as usize * 3989) % (200 << 10));
        async move {
            let part = store.get_range(name(number), at as u64, 40_001, Vec::new()).await.unwrap();
            assert!(part == content(number)[at..at + 40_001], "read {read}");
        }
    });
    stream::iter(reads).buffer_unordered(16).collect::<()>().await;
    let removals = stream::iter(0..20).map(|number| store.remove(name(number)));
    removals.buffer_unordered(8).try_collect::<()>().await.unwrap();
    assert_eq!(store.list(Name::Pack).await.unwrap(), []);
}

async fn gone_at_once(store: &dyn Store) {
    let lock = Name::Lock(Id::of(b"lock"));
    store.put(lock, "lock".into()).await.unwrap();
    store.remove_now(lock);
    for _ in 0..1000 {
        if store.len(lock).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the lock is still there");
}

async fn nothing_is_prepared_over_what_is_there(store: &dyn Store) {
    let key = Name::Key(Id::of(b"key"));
    store.put(key, "kept".into()).await.unwrap();
    // There is a config.
    assert!(matches!(store.prepare().await, Err(Error::NotEmpty { .. })));
    assert_eq!(store.get(key, 4).await.unwrap(), "kept");
    // Without one, a key is the beginning of a repository that nobody has finished.
    store.remove(Name::Config).await.unwrap();
    store.prepare().await.unwrap();
    assert_eq!(store.list(Name::Key).await.unwrap(), []);
    for kind in [Name::Lock, Name::Index, Name::Snapshot, Name::Pack] as [Kind; 4] {
        store.put(kind(Id::of(b"x")), "x".into()).await.unwrap();
        assert!(matches!(store.prepare().await, Err(Error::NotEmpty { .. })));
        assert_eq!(store.get(kind(Id::of(b"x")), 1).await.unwrap(), "x");
        store.remove(kind(Id::of(b"x"))).await.unwrap();
    }
}
