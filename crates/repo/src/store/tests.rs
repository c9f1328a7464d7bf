#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, SystemTime};

use super::*;
use crate::Error;

async fn directory() -> (tempfile::TempDir, Directory) {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(&dir.path().join("repo"));
    store.prepare().await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn files_come_back_whole_in_part_and_in_lists() {
    let (_dir, store) = directory().await;
    let id = Id::of(b"x");
    let ours = [Name::Mark as Kind, Name::Forgotten, Name::Damage, Name::Verified, Name::Protection];
    for kind in [Name::Key as Kind, Name::Lock, Name::Index, Name::Snapshot, Name::Pack].into_iter().chain(ours) {
        assert!(store.list(kind).await.unwrap().is_empty());
        store.put(kind(id), "content".into()).await.unwrap();
        assert_eq!(store.len(kind(id)).await.unwrap(), Some(7));
        assert_eq!(store.get(kind(id), 7).await.unwrap(), "content");
        assert_eq!(store.get_range(kind(id), 2, 3, Vec::new()).await.unwrap(), b"nte");
        assert_eq!(store.list(kind).await.unwrap(), [(id, 7)]);
        assert!(matches!(store.get(kind(id), 6).await, Err(Error::Damaged { .. })));
        assert!(matches!(store.get_range(kind(id), 5, 3, Vec::new()).await, Err(Error::Damaged { .. })));
        assert!(matches!(
            store.get_range(kind(id), u64::MAX, 1, Vec::new()).await,
            Err(Error::Io { .. } | Error::Damaged { .. })
        ));
        store.remove(kind(id)).await.unwrap();
        store.remove(kind(id)).await.unwrap();
        assert!(matches!(store.get(kind(id), 7).await, Err(Error::NotFound { .. })));
        assert!(matches!(store.get_range(kind(id), 0, 1, Vec::new()).await, Err(Error::NotFound { .. })));
        assert!(store.list(kind).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn foreign_names_are_left_out() {
    let (dir, store) = directory().await;
    for name in ["snapshots/README", "snapshots/abc", "data/00/.nfs0001"] {
        fs::write(dir.path().join("repo").join(name), "").unwrap();
    }
    assert!(store.list(Name::Snapshot).await.unwrap().is_empty());
    assert!(store.list(Name::Pack).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_an_error() {
    let (dir, store) = directory().await;
    fs::remove_dir(dir.path().join("repo/data/7f")).unwrap();
    assert!(matches!(store.list(Name::Pack).await, Err(Error::Io { .. })));
}

#[tokio::test]
async fn what_a_crash_left_is_swept_when_it_is_old() {
    let (dir, store) = directory().await;
    let temp = dir.path().join("repo/tmp");
    for (name, age) in [("old", 25), ("young", 1)] {
        let file = fs::File::create(temp.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age * 3600)).unwrap();
    }
    store.sweep().await;
    let left: Vec<_> = fs::read_dir(&temp).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["young"]);
    fs::remove_dir_all(&temp).unwrap();
    store.sweep().await;
    store.put(Name::Lock(Id::of(b"")), "made again".into()).await.unwrap();
}

#[tokio::test]
async fn a_creation_that_was_interrupted_can_be_done_again() {
    let (dir, store) = directory().await;
    let root = dir.path().join("repo");
    store.put(Name::Key(Id::of(b"key")), "of nothing".into()).await.unwrap();
    fs::write(root.join("tmp/half"), "written").unwrap();
    fs::remove_dir(root.join("data/ff")).unwrap();
    store.prepare().await.unwrap();
    assert!(store.list(Name::Key).await.unwrap().is_empty());
    assert!(root.join("data/ff").is_dir() && !root.join("tmp/half").exists());
}

#[tokio::test]
async fn nothing_is_created_over_what_may_be_needed() {
    for name in ["config", "data/00/pack", "index/x", "snapshots/x", "locks/x", "keys/dir/x", "notes.txt", "photos/x"] {
        let (dir, store) = directory().await;
        let key = Name::Key(Id::of(b"key"));
        store.put(key, "kept".into()).await.unwrap();
        let path = dir.path().join("repo").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(matches!(store.prepare().await, Err(Error::NotEmpty { .. })), "{name}");
        assert_eq!(store.get(key, 4).await.unwrap(), "kept", "{name}");
        assert!(path.exists(), "{name}");
    }
}
