#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::Directory;

async fn index() -> (tempfile::TempDir, Arc<dyn Store>, Arc<Key>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(&dir.path().join("repo"));
    store.prepare().await.unwrap();
    (dir, Arc::new(store), Arc::new(Key::random()))
}

fn pack(number: u8) -> PackEntries {
    let entry = |kind, blob: u8| Entry {
        kind,
        id: Id::of(&[number, blob]),
        offset: 100 * u32::from(blob),
        sealed_len: 90,
        raw_len: (blob > 0).then_some(200),
    };
    PackEntries { id: Id::of(&[number]), entries: vec![entry(BlobKind::Data, 0), entry(BlobKind::Tree, 1)] }
}

#[tokio::test]
async fn what_one_writes_the_other_finds() {
    let (_dir, store, key) = index().await;
    let ours = Index::new(store.clone(), key.clone());
    let theirs = Index::new(store.clone(), key.clone());
    ours.write(vec![pack(1)]).await.unwrap();
    theirs.refresh().await.unwrap();
    ours.write(vec![pack(2), pack(3)]).await.unwrap();
    theirs.refresh().await.unwrap();
    for index in [&ours, &theirs] {
        for number in 1..=3 {
            let location = index.location(BlobKind::Tree, &Id::of(&[number, 1])).unwrap();
            assert_eq!(location, Location { pack: Id::of(&[number]), offset: 100, sealed_len: 90, raw_len: Some(200) });
            assert_eq!(index.location(BlobKind::Data, &Id::of(&[number, 0])).unwrap().raw_len, None);
            assert!(index.contains(BlobKind::Data, &Id::of(&[number, 0])));
            assert!(!index.contains(BlobKind::Data, &Id::of(&[number, 1])), "a tree is no data");
        }
    }
}

#[tokio::test]
async fn what_vanished_is_forgotten() {
    let (_dir, store, key) = index().await;
    let index = Index::new(store.clone(), key.clone());
    index.write(vec![pack(1)]).await.unwrap();
    let (first, _) = store.list(Name::Index).await.unwrap()[0];
    index.write(vec![pack(2)]).await.unwrap();
    store.remove(Name::Index(first)).await.unwrap();
    index.refresh().await.unwrap();
    assert!(!index.contains(BlobKind::Data, &Id::of(&[1, 0])));
    assert!(index.contains(BlobKind::Data, &Id::of(&[2, 0])));
}

#[tokio::test]
async fn impossible_entries_are_damage() {
    let (_dir, store, key) = index().await;
    let id = Id::random();
    for (offset, length, raw) in [(0, 31, 0), (u32::MAX, 100, 0), (0, 1 << 31, 0), (0, 100, u32::MAX)] {
        let json = serde_json::json!({"packs": [{"id": id, "blobs": [
            {"id": id, "type": "data", "offset": offset, "length": length, "uncompressed_length": raw}]}]});
        let (name, content) = sealed::seal(&key, &json);
        store.put(Name::Index(name), content).await.unwrap();
        let error = Index::new(store.clone(), key.clone()).refresh().await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        store.remove(Name::Index(name)).await.unwrap();
    }
}
