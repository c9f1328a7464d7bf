#![allow(clippy::unwrap_used)]

use std::path::Path;

use xenkeep_repo::{Kdf, WriteOptions};

use super::*;

async fn datastore(dir: &Path, password: &str) -> DatastoreAccess {
    let options = CreateOptions { kdf: Kdf { n: 16, r: 1, p: 1 }, ..CreateOptions::default() };
    Repo::create(dir, &password.to_owned().into(), options).await.unwrap();
    DatastoreAccess {
        id: DatastoreId::random(),
        name: "store".into(),
        path: dir.to_str().unwrap().into(),
        password: Secret::new(password),
        s3: None,
        s3_secret_access_key: None,
    }
}

async fn refusal(repos: &Repos, access: &DatastoreAccess) -> String {
    repos.open(access, None).await.unwrap_err().code
}

#[tokio::test]
async fn jobs_share_what_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let access = datastore(&dir.path().join("store"), "one").await;
    let repos = Repos::default();
    let (a, b) = tokio::try_join!(repos.open(&access, None), repos.open(&access, None)).unwrap();
    let _first = a.begin(WriteOptions::default()).await.unwrap();
    let _second = b.begin(WriteOptions::default()).await.unwrap();
    let locks = std::fs::read_dir(dir.path().join("store/locks")).unwrap().count();
    assert_eq!(locks, 1, "one session, so that no chunk is stored twice");
}

#[tokio::test]
async fn what_is_not_there_any_more_is_not_shared() {
    let dir = tempfile::tempdir().unwrap();
    let (store, away) = (dir.path().join("store"), dir.path().join("away"));
    let access = datastore(&store, "one").await;
    let repos = Repos::default();
    let first = repos.open(&access, None).await.unwrap();
    let guess = DatastoreAccess { password: Secret::new("guess"), ..access.clone() };
    assert_eq!(refusal(&repos, &guess).await, "datastore.wrong_password");
    assert_eq!(repos.open(&access, None).await.unwrap().id(), first.id());

    // Unmounted; something else is mounted; the old one again.
    std::fs::rename(&store, &away).unwrap();
    assert_eq!(refusal(&repos, &access).await, "datastore.not_a_repository");
    datastore(&store, "two").await;
    assert_eq!(refusal(&repos, &access).await, "datastore.wrong_password");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    assert_eq!(repos.open(&access, None).await.unwrap().id(), first.id());
    // Exchanged while it is open, with the same password.
    std::fs::rename(&store, &away).unwrap();
    datastore(&store, "one").await;
    assert_ne!(repos.open(&access, None).await.unwrap().id(), first.id());
}
