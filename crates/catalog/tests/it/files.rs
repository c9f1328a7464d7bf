use std::fs;
use std::path::Path;

use xenkeep_api::{DatastoreId, NewDatastore, Secret};

use xenkeep_catalog::{Catalog, Error};

use crate::sqlite::fixture::{any_backup, at, catalog, client, ready_client, run};
use crate::sqlite::journal::entry;

/// Every file in the directory but the key itself, searched for a text.
fn files_with(dir: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let bytes = fs::read(entry.path()).unwrap();
        if bytes.windows(needle.len()).any(|window| window == needle) {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

#[tokio::test]
async fn are_in_no_byte_of_the_database() {
    const PASSWORD: &str = "pool-password-that-nobody-sees";
    const KEY: &str = "repository-key-that-nobody-sees";
    let (catalog, dir) = catalog().await;
    let (kept, gone) = (client("visible-name"), client("gone"));
    for client in [&kept, &gone] {
        catalog.insert_client(client, &Secret::new(PASSWORD)).await.unwrap();
    }
    let new = NewDatastore::directory("store", "/srv");
    let store = DatastoreId::random();
    catalog.insert_datastore(store, &new, &Secret::new(KEY), at(0)).await.unwrap();
    catalog.discard_client(gone.id).await.unwrap();
    for secret in [PASSWORD, KEY] {
        assert!(files_with(dir.path(), secret.as_bytes()).is_empty(), "while it is open");
    }
    // The search does find what lies there in the clear.
    assert!(!files_with(dir.path(), b"visible-name").is_empty());
    let key_file = fs::read(dir.path().join("key")).unwrap();
    assert_eq!(files_with(dir.path(), key_file.trim_ascii()), ["key"], "the key is not in the database");
    assert_eq!(files_with(dir.path(), &hex::decode(key_file.trim_ascii()).unwrap()), Vec::<String>::new());
    catalog.close().await;
    for secret in [PASSWORD, KEY] {
        assert!(files_with(dir.path(), secret.as_bytes()).is_empty(), "after it was closed");
    }
}

#[tokio::test]
async fn do_not_show_in_debug_output() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let access = catalog.client_access(lab.id).await.unwrap();
    for shown in [format!("{catalog:?}"), format!("{access:?}"), format!("{lab:?}")] {
        assert!(!shown.contains(crate::sqlite::fixture::PASSWORD), "{shown}");
    }
}

#[tokio::test]
async fn hold_a_journal_that_outlives_the_process() {
    let (catalog, dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let entry = entry("a");
    catalog.journal_write(job.id, job.fence, &entry, at(2)).await.unwrap();
    // As a killed process leaves it: nothing is closed, the WAL is as it is. (A copy, because our own handles are open.)
    let copy = tempfile::tempdir().unwrap();
    for name in ["xenkeep.db", "xenkeep.db-wal", "key"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let after = Catalog::open(copy.path()).await.unwrap();
    assert_eq!(after.journal(job.id).await.unwrap(), [entry]);
}

#[tokio::test]
async fn hold_a_journal_that_is_sealed_and_bound_to_its_rows() {
    let (catalog, dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let (a, b) = (entry("the contents of a virtual TPM"), entry("other"));
    for entry in [&a, &b] {
        catalog.journal_write(job.id, job.fence, entry, at(2)).await.unwrap();
    }
    catalog.journal_write(job.id, job.fence, &a, at(3)).await.unwrap();
    for name in ["xenkeep.db", "xenkeep.db-wal"] {
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"virtual TPM"), "{name}");
    }
    catalog.close().await;
    // Somebody who can write to the file, but has no key, moves what is sealed to another row.
    let file =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", dir.path().join("xenkeep.db").display())).await.unwrap();
    let swapped = sqlx::query("UPDATE journal SET what_sealed = (SELECT what_sealed FROM journal WHERE id = $1)")
        .bind(a.id.to_string())
        .execute(&file)
        .await
        .unwrap();
    assert_eq!(swapped.rows_affected(), 2);
    file.close().await;
    let catalog = Catalog::open(dir.path()).await.unwrap();
    assert!(matches!(catalog.journal(job.id).await, Err(Error::Sealed(place)) if place.contains(&b.id.to_string())));
}
