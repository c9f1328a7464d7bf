#![allow(clippy::unwrap_used)]

use xenkeep_api::Secret;
use xenkeep_repo::{CreateOptions, Error, Kdf, WriteOptions};

use super::*;

async fn datastore(dir: &Path, secret: &str) -> DatastoreAccess {
    let options = CreateOptions { kdf: Kdf { n: 16, r: 1, p: 1 }, ..CreateOptions::default() };
    Repo::create(dir, &secret.to_owned().into(), options).await.unwrap();
    DatastoreAccess {
        id: DatastoreId::random(),
        name: "store".into(),
        path: dir.to_str().unwrap().into(),
        password: Secret::new(secret),
    }
}

#[tokio::test]
async fn jobs_share_what_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let access = datastore(&dir.path().join("store"), "one").await;
    let repos = Repos::new(None);
    let (a, b) = tokio::join!(repos.open(&access), repos.open(&access));
    let writers = [a.unwrap().begin(WriteOptions::default()).await, b.unwrap().begin(WriteOptions::default()).await];
    assert!(writers.iter().all(Result::is_ok));
    let locks = std::fs::read_dir(dir.path().join("store/locks")).unwrap().count();
    assert_eq!(locks, 1, "one session, so that no chunk is stored twice");
}

#[tokio::test]
async fn what_is_not_there_any_more_is_not_shared() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let access = datastore(&store, "one").await;
    let repos = Repos::new(None);
    let first = repos.open(&access).await.unwrap();
    let guess = DatastoreAccess { password: Secret::new("guess"), ..access.clone() };
    assert!(matches!(repos.open(&guess).await, Err(Error::WrongPassword { .. })));
    assert_eq!(repos.open(&access).await.unwrap().id(), first.id());

    // Unmounted, then something else is mounted, then the old one again.
    std::fs::rename(&store, dir.path().join("away")).unwrap();
    assert!(matches!(repos.open(&access).await, Err(Error::NotARepository { .. })));
    datastore(&store, "two").await;
    assert!(matches!(repos.open(&access).await, Err(Error::WrongPassword { .. })));
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(dir.path().join("away"), &store).unwrap();
    assert_eq!(repos.open(&access).await.unwrap().id(), first.id());
    // Exchanged while it is open.
    std::fs::rename(&store, dir.path().join("away")).unwrap();
    datastore(&store, "one").await;
    let other = repos.open(&access).await.unwrap();
    assert_ne!(other.id(), first.id());
    assert!(!first.is_in_place().await && other.is_in_place().await);
}
