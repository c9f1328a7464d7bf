#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, SystemTime};

use super::flawed::{Flaw, Flawed};
use super::memory::Memory;
use super::*;
use crate::Error;

async fn directory() -> (tempfile::TempDir, Directory) {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(&dir.path().join("repo"));
    store.prepare().await.unwrap();
    (dir, store)
}

/// Waits little: tests have no time.
pub(super) fn hurried() -> Patience {
    Patience {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        give_up_after: Duration::from_secs(10),
        give_up_first_after: Duration::from_secs(5),
    }
}

#[tokio::test]
async fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::suite(Arc::new(Directory::new(&dir.path().join("repo")))).await;
}

#[tokio::test]
async fn memory_conforms() {
    conformance::suite(Arc::new(Memory::default())).await;
}

#[tokio::test]
async fn a_store_that_fails_now_and_then_conforms_for_those_who_are_patient() {
    for flaw in [Flaw::Fails(1), Flaw::Fails(3), Flaw::Delays] {
        let flawed = Flawed::new(Arc::new(Memory::default()), flaw);
        conformance::suite(Patient::over(flawed, hurried())).await;
    }
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    let store = Flawed::new(Arc::new(Memory::default()), Flaw::CutsRead(usize::MAX));
    let patient = Patient::over(store.clone(), Patience::default());
    assert!(matches!(patient.get(Name::Config, 9).await, Err(Error::NotFound { .. })));
    patient.put(Name::Config, "config".into()).await.unwrap();
    assert!(matches!(patient.get(Name::Config, 3).await, Err(Error::Damaged { .. })));
    assert_eq!(store.writes(), 1);
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
