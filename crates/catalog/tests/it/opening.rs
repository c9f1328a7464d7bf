use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{Executor as _, SqlSafeStr as _};
use xenkeep_api::{DatastoreId, JobResult};
use xenkeep_catalog::{Catalog, Error};

use crate::sqlite::fixture::{NO_RECOVERY, PASSWORD, at, backup, catalog, good, ready_client, run};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn twice_brings_back_what_was_there() {
    let (catalog, dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    catalog.close().await;
    for _ in 0..2 {
        let catalog = Catalog::open(dir.path()).await.unwrap();
        assert_eq!(catalog.clients().await.unwrap(), std::slice::from_ref(&lab));
        assert_eq!(catalog.client_access(lab.id).await.unwrap().password.expose(), PASSWORD);
        catalog.close().await;
    }
}

#[tokio::test]
async fn makes_files_that_only_we_may_read() {
    let (catalog, dir) = catalog().await;
    ready_client(&catalog, "lab").await;
    for name in ["key", "xenkeep.db", "xenkeep.db-wal", "xenkeep.db-shm"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn refuses_another_key() {
    let (first, dir) = catalog().await;
    first.close().await;
    let (_other, other_dir) = catalog().await;
    fs::copy(other_dir.path().join("key"), dir.path().join("key")).unwrap();
    let error = Catalog::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::WrongKey(_)), "{error:?}");
    assert_eq!(error.problem().code, "catalog.key");
}

#[tokio::test]
async fn never_replaces_a_missing_key() {
    let (catalog, dir) = catalog().await;
    catalog.close().await;
    let key = dir.path().join("key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let error = Catalog::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::KeyMissing(_)), "{error:?}");
    assert!(!key.exists());
    fs::write(&key, kept).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    Catalog::open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn refuses_a_key_that_others_can_read_and_one_that_is_none() {
    let (catalog, dir) = catalog().await;
    catalog.close().await;
    let key = dir.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Catalog::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::KeyExposed { mode: 0o640, .. }), "{error:?}");
    assert!(error.problem().hint.unwrap().starts_with("chmod 600"));

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "hello", &"ab".repeat(31), &"ab".repeat(33), &"zz".repeat(32)] {
        fs::write(&key, text).unwrap();
        let error = Catalog::open(dir.path()).await.unwrap_err();
        assert!(matches!(error, Error::KeyMalformed(_)), "{text:?}: {error:?}");
    }
    fs::write(&key, [0xff; 64]).unwrap();
    assert!(Catalog::open(dir.path()).await.is_err());
}

#[tokio::test]
async fn refuses_a_file_that_is_no_database_and_a_directory_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("xenkeep.db"), "not a database, but long enough to have a header of its own".repeat(20))
        .unwrap();
    let error = Catalog::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::Database(_) | Error::Migration(_)), "{error:?}");

    let error = Catalog::open(Path::new("/nonexistent/dir")).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("xenkeep.db")).create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    let first = include_str!("../../migrations/0001_first.sql").into_sql_str();
    let migration = Migration::new(1, "first".into(), MigrationType::Simple, first, false);
    Migrator::with_migrations(vec![migration]).run(&old).await.unwrap();
    let id = DatastoreId::random();
    let insert = format!(
        "INSERT INTO datastores (id, name, path, password_sealed, repository_id, created_ms) \
         VALUES ('{id}', 'store', '/srv/store', x'00', 'repo', 0); \
         INSERT INTO points VALUES ('{id}', '{}', '{id}', 'lab', '{id}', 'vm', 'u', 'web', 0, 1, 1, 1, '[]')",
        "a".repeat(64)
    );
    old.execute(sqlx::AssertSqlSafe(insert)).await.unwrap();
    old.close().await;

    let catalog = Catalog::open(dir.path()).await.unwrap();
    let store = catalog.datastore("store").await.unwrap();
    assert_eq!((store.id, store.state.points, store.state.stored_bytes), (id, 1, None));
    let point = catalog.find_point("aa").await.unwrap();
    assert_eq!((point.protection, point.damage), (None, None));
    // Nobody has measured it: what a backup adds does not make the sum known.
    let lab = ready_client(&catalog, "lab").await;
    let claimed = run(&catalog, backup(lab.id, id)).await;
    let added = crate::sqlite::fixture::point("bb", &lab, id, claimed.id, 1);
    let report = good(JobResult::Point { point: added });
    catalog.finish(claimed.id, claimed.fence, &report, at(9), NO_RECOVERY).await.unwrap();
    assert_eq!(catalog.datastore("store").await.unwrap().state.stored_bytes, None);
}
