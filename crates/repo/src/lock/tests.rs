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
    let mut file = LockFile { exclusive: true, xenkeep: None, ..LockFile::new(&Ours::new(Purpose::Session)) };
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
    let first = Lock::take(store.clone(), key.clone(), Purpose::Session).await.unwrap();
    let second = Lock::take(store.clone(), key.clone(), Purpose::Session).await.unwrap();
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
    let error = Lock::take(store.clone(), key.clone(), Purpose::Session).await.err().unwrap();
    assert!(matches!(&error, Error::Locked { by } if by.contains("process")), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(count(&*store).await, 1);
}

#[tokio::test]
async fn abandoned_locks_are_passed_over() {
    let (_dir, store, key) = store().await;
    let ours = Some(Ours::new(Purpose::Session));
    foreign(&*store, &key, |file| (file.pid, file.xenkeep) = (u32::MAX, ours)).await;
    let restics = foreign(&*store, &key, |file| {
        file.pid = u32::MAX;
        file.username = "root".into();
    })
    .await;
    foreign(&*store, &key, |file| {
        file.xenkeep = Some(Ours::new(Purpose::Sweep));
        file.hostname = "elsewhere".into();
        file.time = Timestamp::now() - jiff::SignedDuration::from_mins(31);
    })
    .await;
    Lock::take(store.clone(), key.clone(), Purpose::Session).await.unwrap();
    let left = store.list(Name::Lock).await.unwrap();
    assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [restics], "our own are cleared away");
    foreign(&*store, &key, |file| file.hostname = "elsewhere".into()).await;
    assert!(Lock::take(store.clone(), key.clone(), Purpose::Session).await.is_err());
}

#[tokio::test]
async fn a_renewed_lock_is_a_new_file() {
    let (_dir, store, key) = store().await;
    let lock = Lock::take(store.clone(), key, Purpose::Session).await.unwrap();
    let before = lock.held.id();
    lock.held.refresh().await.unwrap();
    assert_ne!(lock.held.id(), before);
    assert_eq!(count(&*store).await, 1);
    lock.check().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_was_removed_or_slept_too_long_is_lost() {
    let (_dir, store, key) = store().await;
    let lock = Lock::take(store.clone(), key.clone(), Purpose::Session).await.unwrap();
    store.remove(Name::Lock(lock.held.id().unwrap())).await.unwrap();
    assert!(matches!(lock.check().await, Err(Error::LockLost)));
    assert!(matches!(lock.held.refresh().await, Err(Error::LockLost)));

    let lock = Lock::take(store.clone(), key, Purpose::Session).await.unwrap();
    lock.held.written_at.fetch_sub(STALE_SECONDS, Ordering::Relaxed);
    assert!(matches!(lock.check().await, Err(Error::LockLost)));
}

#[tokio::test]
async fn whoever_is_in_the_way_refuses_whom() {
    use Purpose::{Prune, Session, Sweep};
    for (first, beside) in
        [(Session, vec![Session, Prune, Sweep]), (Prune, vec![Session, Sweep]), (Sweep, vec![Session])]
    {
        for second in [Session, Prune, Sweep] {
            let (_dir, store, key) = store().await;
            let _held = Lock::take(store.clone(), key.clone(), first).await.unwrap();
            let taken = Lock::take(store.clone(), key.clone(), second).await;
            assert_eq!(taken.is_ok(), beside.contains(&second), "{second:?} beside {first:?}");
        }
    }
    for (exclusive, beside) in [(false, vec![Session, Prune]), (true, vec![])] {
        for purpose in [Session, Prune, Sweep] {
            let (_dir, store, key) = store().await;
            foreign(&*store, &key, |file| file.exclusive = exclusive).await;
            let taken = Lock::take(store.clone(), key.clone(), purpose).await;
            assert_eq!(taken.is_ok(), beside.contains(&purpose), "{purpose:?} beside restic's, exclusive: {exclusive}");
        }
    }
}

#[tokio::test]
async fn a_session_stays_the_same_when_its_lock_is_renewed() {
    let (_dir, store, key) = store().await;
    let lock = Lock::take(store.clone(), key.clone(), Purpose::Prune).await.unwrap();
    let before = holders(&*store, &key).await.unwrap();
    lock.held.refresh().await.unwrap();
    let after = holders(&*store, &key).await.unwrap();
    assert_eq!((after.len(), after[0].session), (1, Some(lock.session())));
    assert_eq!((after[0].session, after[0].since), (before[0].session, before[0].since));
    assert_ne!(after[0].id, before[0].id);
}
