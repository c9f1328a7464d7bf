#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::Directory;

async fn store() -> (tempfile::TempDir, Arc<dyn Store>, Arc<Key>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(&dir.path().join("repo"));
    store.prepare().await.unwrap();
    (dir, Arc::new(store), Arc::new(Key::random()))
}

async fn foreign(store: &dyn Store, key: &Key, change: impl FnOnce(&mut LockFile)) -> Id {
    let mut file = LockFile { exclusive: true, ..LockFile::ours() };
    change(&mut file);
    let (id, content) = sealed::seal(key, &file);
    store.put(Name::Lock(id), content).await.unwrap();
    id
}

async fn count(store: &dyn Store) -> usize {
    store.list(Name::Lock).await.unwrap().len()
}

#[tokio::test]
async fn shared_locks_stand_side_by_side_and_go() {
    let (_dir, store, key) = store().await;
    let first = Lock::take(store.clone(), key.clone()).await.unwrap();
    let second = Lock::take(store.clone(), key.clone()).await.unwrap();
    assert_eq!(count(&*store).await, 2);
    drop(first);
    second.check().await.unwrap();
    drop(second);
    assert_eq!(count(&*store).await, 0);
}

#[tokio::test]
async fn an_exclusive_lock_refuses_us_and_we_leave_none() {
    let (_dir, store, key) = store().await;
    foreign(&*store, &key, |_| {}).await;
    let error = Lock::take(store.clone(), key.clone()).await.err().unwrap();
    assert!(matches!(&error, Error::Locked { by } if by.contains("process")), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(count(&*store).await, 1);
}

#[tokio::test]
async fn abandoned_locks_are_passed_over() {
    let (_dir, store, key) = store().await;
    foreign(&*store, &key, |file| file.pid = u32::MAX).await;
    let restics = foreign(&*store, &key, |file| {
        file.pid = u32::MAX;
        file.username = "root".into();
    })
    .await;
    foreign(&*store, &key, |file| {
        file.hostname = "elsewhere".into();
        file.time = Timestamp::now() - jiff::SignedDuration::from_mins(31);
    })
    .await;
    Lock::take(store.clone(), key.clone()).await.unwrap();
    let left = store.list(Name::Lock).await.unwrap();
    assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [restics], "our own are cleared away");
    foreign(&*store, &key, |file| file.hostname = "elsewhere".into()).await;
    assert!(Lock::take(store.clone(), key.clone()).await.is_err());
}

#[tokio::test]
async fn a_renewed_lock_is_a_new_file() {
    let (_dir, store, key) = store().await;
    let lock = Lock::take(store.clone(), key).await.unwrap();
    let before = lock.held.id();
    lock.held.refresh().await.unwrap();
    assert_ne!(lock.held.id(), before);
    assert_eq!(count(&*store).await, 1);
    lock.check().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_was_removed_or_slept_too_long_is_lost() {
    let (_dir, store, key) = store().await;
    let lock = Lock::take(store.clone(), key.clone()).await.unwrap();
    store.remove(Name::Lock(lock.held.id().unwrap())).await.unwrap();
    assert!(matches!(lock.check().await, Err(Error::LockLost)));
    assert!(matches!(lock.held.refresh().await, Err(Error::LockLost)));

    let lock = Lock::take(store.clone(), key).await.unwrap();
    lock.held.written_at.fetch_sub(STALE_SECONDS, Ordering::Relaxed);
    assert!(matches!(lock.check().await, Err(Error::LockLost)));
}
