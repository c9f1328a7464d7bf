#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::Directory;

fn record(pack: Id, blobs: Option<&[Id]>, second: i64) -> PackDamage {
    let found = Timestamp::from_second(second).unwrap();
    PackDamage { pack, found, why: "rotten".to_owned(), blobs: blobs.map(<[Id]>::to_vec) }
}

fn bench() -> (tempfile::TempDir, KnownDamage) {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(dir.path());
    (dir, KnownDamage::new(Arc::new(store), Arc::new(Key::random())))
}

async fn add(known: &KnownDamage, record: PackDamage) {
    known.replace(|records| merge(records, record)).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_damaged_where_it_lies_and_nowhere_else() {
    let (_dir, known) = bench();
    known.refresh().await.unwrap();
    assert!(known.get().is_empty());
    let [some, all, none, blob, other] = [1, 2, 3, 4, 5].map(|byte| Id::of(&[byte]));
    add(&known, record(some, Some(&[blob]), 1)).await;
    add(&known, record(all, None, 1)).await;
    add(&known, record(none, Some(&[]), 1)).await;
    let read_again = KnownDamage::new(known.store.clone(), known.key.clone());
    read_again.refresh().await.unwrap();
    for damage in [known.get(), read_again.get()] {
        assert!(damage.is_damaged(&some, &blob) && !damage.is_damaged(&some, &other));
        assert!(damage.is_damaged(&all, &blob) && damage.is_damaged(&all, &other));
        assert!(!damage.is_damaged(&none, &blob) && !damage.is_damaged(&other, &blob));
        assert!([some, all, none].iter().all(|pack| damage.has(pack)) && !damage.has(&other));
    }
    known.replace(|records| drop(records.remove(&all))).await.unwrap();
    assert!(!known.get().is_damaged(&all, &blob));
    known.replace(Records::clear).await.unwrap();
    assert!(known.store.list(Name::Damage).await.unwrap().is_empty());
}

#[tokio::test]
async fn records_of_two_who_write_at_once_are_all_heeded() {
    let (_dir, known) = bench();
    let [pack, first, second] = [1, 2, 3].map(|byte| Id::of(&[byte]));
    add(&known, record(pack, Some(&[first]), 7)).await;
    let before = known.read().await.unwrap().1.names;
    let content = known.store.get(Name::Damage(before[0]), 1 << 20).await.unwrap();
    add(&known, record(pack, Some(&[second]), 9)).await;
    // The other one had read the records before, and has not removed its file yet.
    known.store.put(Name::Damage(before[0]), content).await.unwrap();
    let records = known.records().await.unwrap();
    assert_eq!(records[&pack].found.as_second(), 7);
    known.refresh().await.unwrap();
    assert!(known.get().is_damaged(&pack, &first) && known.get().is_damaged(&pack, &second));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_nobody_and_goes() {
    let (_dir, known) = bench();
    let [pack, blob] = [1, 2].map(|byte| Id::of(&[byte]));
    known.store.put(Name::Damage(Id::of(b"x")), "rubbish".into()).await.unwrap();
    known.refresh().await.unwrap();
    assert!(known.get().is_empty());
    add(&known, record(pack, None, 1)).await;
    assert!(known.get().is_damaged(&pack, &blob));
    assert_eq!(known.store.list(Name::Damage).await.unwrap().len(), 1);
}

#[test]
fn records_are_split_into_files_of_bounded_size() {
    let blobs: Vec<Id> = (0..20_000_u32).map(|number| Id::of(&number.to_le_bytes())).collect();
    let records: Records =
        (0..7_u8).map(|pack| Id::of(&[pack])).map(|pack| (pack, record(pack, Some(&blobs), 1))).collect();
    let files = split(&records);
    assert_eq!(files.iter().map(|file| file.packs.len()).collect::<Vec<_>>(), [2, 2, 2, 1]);
}
