#![allow(clippy::unwrap_used)]

use super::*;
use crate::pack::Entry;
use crate::store::Directory;

mod model;

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
            let location = index.location(BlobKind::Tree, &Id::of(&[number, 1])).unwrap().unwrap();
            assert_eq!(location, Location { pack: Id::of(&[number]), offset: 100, sealed_len: 90, raw_len: Some(200) });
            assert_eq!(index.location(BlobKind::Data, &Id::of(&[number, 0])).unwrap().unwrap().raw_len, None);
            assert!(index.contains(BlobKind::Data, &Id::of(&[number, 0])).unwrap());
            assert!(!index.contains(BlobKind::Data, &Id::of(&[number, 1])).unwrap(), "a tree is no data");
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
    assert!(!index.contains(BlobKind::Data, &Id::of(&[1, 0])).unwrap());
    assert!(index.contains(BlobKind::Data, &Id::of(&[2, 0])).unwrap());
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

/// A pack with these blobs, each at a place of its own.
fn pack_of(number: u8, blobs: &[u8]) -> PackEntries {
    let entry = |(at, blob): (usize, &u8)| Entry {
        kind: BlobKind::Data,
        id: Id::of(&[*blob]),
        offset: 1000 * at as u32 + u32::from(number),
        sealed_len: 500,
        raw_len: None,
    };
    PackEntries { id: Id::of(&[number, number]), entries: blobs.iter().enumerate().map(entry).collect() }
}

fn packs_of(index: &Index, blob: u8) -> Vec<Id> {
    let mut packs: Vec<Id> =
        index.locations(BlobKind::Data, &Id::of(&[blob])).unwrap().iter().map(|location| location.pack).collect();
    packs.sort();
    packs
}

fn sorted(packs: &[&PackEntries]) -> Vec<Id> {
    let mut ids: Vec<Id> = packs.iter().map(|pack| pack.id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn all_copies_are_told_and_dead_ones_are_not() {
    let (_dir, store, key) = index().await;
    let index = Index::new(store.clone(), key.clone());
    let (one, two, three) = (pack_of(1, &[1, 2, 3]), pack_of(2, &[2, 3]), pack_of(3, &[3, 3]));
    let first = index.write(vec![one.clone()]).await.unwrap();
    let second = index.write(vec![two.clone(), one.clone()]).await.unwrap();
    let third = index.write(vec![three.clone()]).await.unwrap();
    assert_eq!(packs_of(&index, 1), [one.id]);
    assert_eq!(packs_of(&index, 2), sorted(&[&one, &two]));
    assert_eq!(packs_of(&index, 3), sorted(&[&one, &two, &three, &three]), "twice in one pack are two places");

    // Another index file still names the pack.
    store.remove(Name::Index(first)).await.unwrap();
    index.refresh().await.unwrap();
    assert_eq!(packs_of(&index, 1), [one.id]);

    store.remove(Name::Index(second)).await.unwrap();
    index.refresh().await.unwrap();
    assert_eq!(packs_of(&index, 1), []);
    assert_eq!(packs_of(&index, 3), sorted(&[&three, &three]));

    // A pack comes back to life, with a part of it that was not known.
    let more = pack_of(1, &[1, 2, 3, 4]);
    let fourth = index.write(vec![more.clone()]).await.unwrap();
    assert_eq!((packs_of(&index, 1), packs_of(&index, 4)), (vec![one.id], vec![one.id]));
    assert_eq!(index.location(BlobKind::Data, &Id::of(&[2])).unwrap().unwrap().pack, one.id);

    let mut seen = Vec::new();
    let visit = |file: &Id, pack: PackEntries| {
        seen.push((*file, pack.id, pack.entries.len()));
        Ok(())
    };
    index.for_each_pack(visit).await.unwrap();
    seen.sort();
    let mut expected = vec![(third, three.id, 2), (fourth, one.id, 4)];
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_was_written_is_not_read_again() {
    let (dir, store, key) = index().await;
    let cache = Some(dir.path().join("cache"));
    let limits = Limits { recent_blobs: 1, ..Limits::default() };
    let first = Index::with_limits(store.clone(), key.clone(), cache.clone(), limits);
    first.refresh().await.unwrap();
    let file = first.write(vec![pack(1), pack(2)]).await.unwrap();
    drop(first);
    // The index file can be read no more; only its name counts.
    std::fs::write(dir.path().join("repo").join(Name::Index(file).to_string()), "something else").unwrap();
    let second = Index::with_limits(store.clone(), key.clone(), cache.clone(), limits);
    second.refresh().await.unwrap();
    assert_eq!(second.location(BlobKind::Tree, &Id::of(&[2, 1])).unwrap().unwrap().pack, pack(2).id);

    // Who comes second finds what the first has written, but does not write there.
    let other = Index::with_limits(store.clone(), key.clone(), cache.clone(), limits);
    other.refresh().await.unwrap();
    assert!(other.contains(BlobKind::Tree, &Id::of(&[1, 1])).unwrap());
    let private = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("private-");
    let privates = || std::fs::read_dir(cache.clone().unwrap()).unwrap().map(Result::unwrap).filter(private).count();
    assert_eq!(privates(), 1);
    other.write(vec![pack(3)]).await.unwrap();
    assert!(other.contains(BlobKind::Tree, &Id::of(&[3, 1])).unwrap());
    drop(other);
    assert_eq!(privates(), 0);
}

#[tokio::test]
async fn where_nothing_can_be_kept_it_stays_in_memory() {
    let (dir, store, key) = index().await;
    let no_directory = dir.path().join("a file");
    std::fs::write(&no_directory, "").unwrap();
    let limits = Limits { recent_blobs: 1, ..Limits::default() };
    let refused = Index::with_limits(store.clone(), key.clone(), Some(no_directory.clone()), limits);
    // Here the directory can be opened, but nothing can be written to it any more.
    let dir = dir.path().join("cache");
    let lost = Index::with_limits(store.clone(), key.clone(), Some(dir.clone()), limits);
    lost.refresh().await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    for index in [refused, lost] {
        index.refresh().await.unwrap();
        let file = index.write(vec![pack(1)]).await.unwrap();
        index.refresh().await.unwrap();
        assert!(index.contains(BlobKind::Tree, &Id::of(&[1, 1])).unwrap());
        store.remove(Name::Index(file)).await.unwrap();
    }
}
