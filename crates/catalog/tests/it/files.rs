use std::fs;
use std::path::Path;

use xenkeep_api::{DatastoreId, NewDatastore, Secret};

use crate::sqlite::fixture::{at, catalog, client, ready_client};

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
