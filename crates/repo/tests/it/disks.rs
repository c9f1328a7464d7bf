use std::sync::Arc;

use rand::{RngCore, SeedableRng, rngs::StdRng};
use xenkeep_disk::{Block, DiskRead};
use xenkeep_repo::{CreateOptions, Error, Meta, OpenOptions, Repo, WriteOptions};

use crate::store::*;

#[tokio::test(flavor = "multi_thread")]
async fn disks_and_files_come_back() {
    let fixture = Fixture::new().await;
    let sizes = [0, 1, 511, CHUNK, CHUNK + 1, 16 * CHUNK, 16 * CHUNK + 512, 40 << 20];
    let images: Vec<Vec<u8>> = sizes.iter().map(|size| image(*size as u64, *size)).collect();
    let (writer, counters) = begin(&fixture.repo).await;
    for (position, image) in images.iter().enumerate() {
        let tree = writer.disk(&position.to_string(), image.len() as u64, stream_of(blocks(image, 7))).await.unwrap();
        assert_eq!((tree.size_bytes, tree.name), (image.len() as u64, position.to_string()));
    }
    let ova = image(99, 300_000);
    writer.file("ova.xml", ova.clone().into()).await.unwrap();
    writer.file("empty", "".into()).await.unwrap();
    let id = writer.commit(meta(0)).await.unwrap();
    assert_eq!(counters.read_bytes(), sizes.iter().sum::<usize>() as u64 + 300_000);

    for repo in [&fixture.repo, &fixture.reopened().await] {
        let point = repo.open_point(&id).await.unwrap();
        assert_eq!(point.file("ova.xml").await.unwrap(), ova);
        assert_eq!(point.file("empty").await.unwrap(), "");
        assert_eq!(point.files(), ["empty", "ova.xml"]);
        assert_eq!(point.disks().await.unwrap(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        for (position, image) in images.iter().enumerate() {
            let disk = point.disk(&position.to_string()).await.unwrap();
            assert!(read_blocks(disk).await.unwrap() == *image, "disk {position}");
        }
        assert!(matches!(point.disk("8").await, Err(Error::NotFound { .. })));
        assert!(matches!(point.file("disks").await, Err(Error::NotFound { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_place_can_be_read() {
    let fixture = Fixture::new().await;
    let image = image(3, (9 << 20) + 17);
    let id = back_up(&fixture.repo, 0, &image).await;
    let disk = fixture.repo.open_point(&id).await.unwrap().disk("0").await.unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..200 {
        let start = rng.next_u64() as usize % image.len();
        let len = rng.next_u64() as usize % (image.len() - start).min(400 << 10);
        let mut buf = vec![1; len];
        disk.read_at(start as u64, &mut buf).await.unwrap();
        assert!(buf == image[start..start + len], "{len} bytes at {start}");
    }
    let error = disk.read_at(image.len() as u64 - 1, &mut [0; 2]).await.unwrap_err();
    assert!(error.to_string().contains("outside") || std::error::Error::source(&error).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_chunks_are_stored_once() {
    let fixture = Fixture::new().await;
    let image = image(3, 8 << 20);
    let (writer, counters) = begin(&fixture.repo).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(&image, 1))).await.unwrap();
    let first = counters.new_bytes();
    writer.disk("1", image.len() as u64, stream_of(blocks(&image, 2))).await.unwrap();
    assert_eq!(counters.new_bytes(), first);
    writer.commit(meta(0)).await.unwrap();

    let mut changed = image.clone();
    changed[5 << 20] ^= 1;
    let (writer, counters) = begin(&fixture.reopened().await).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(&changed, 1))).await.unwrap();
    let id = writer.commit(meta(1)).await.unwrap();
    assert_eq!(counters.new_bytes(), CHUNK as u64);
    assert!(restored(&fixture.repo, &id).await == changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_parts_of_a_huge_disk_cost_nothing() {
    let fixture = Fixture::new().await;
    let size = 2 << 40;
    let (writer, counters) = begin(&fixture.repo).await;
    let mut sink = writer.disk_sink("0", size).unwrap();
    sink.push(Block::zero(0, 1 << 40)).await.unwrap();
    sink.push(Block::bytes(1 << 40, "in the middle".into())).await.unwrap();
    sink.push(Block::zero((1 << 40) + 13, (1 << 40) - 13)).await.unwrap();
    sink.finish().await.unwrap();
    let id = writer.commit(meta(0)).await.unwrap();
    assert_eq!(counters.read_bytes(), size);
    assert_eq!(counters.new_bytes(), 2 * CHUNK as u64);
    assert!(counters.stored_bytes() < 1 << 20, "{}", counters.stored_bytes());

    let disk = fixture.repo.open_point(&id).await.unwrap().disk("0").await.unwrap();
    assert_eq!(disk.size(), size);
    let mut buf = [1; 20];
    disk.read_at((1 << 40) - 4, &mut buf).await.unwrap();
    assert_eq!(&buf, b"\0\0\0\0in the middle\0\0\0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_names_only_what_changed() {
    let fixture = Fixture::new().await;
    let mut image = image(3, (70 << 20) + 12345);
    let id = back_up(&fixture.repo, 0, &image).await;
    let base = fixture.repo.open_point(&id).await.unwrap().disk("0").await.unwrap();

    // Changes that begin and end anywhere, over a disk that has grown by a bit.
    let changes = [(1_000_000_usize, 10_usize), (34 << 20, 700_000), (50 << 20, CHUNK)];
    let old_len = image.len();
    let new_len = old_len + 5_000_000;
    image.resize(new_len, 0);
    let (writer, counters) = begin(&fixture.repo).await;
    let mut sink = writer.disk_sink_over("0", new_len as u64, base).unwrap();
    let mut position = 0;
    for (start, len) in changes {
        image[start..start + len].fill(0xee);
        let unchanged = Block { offset: position, len: start as u64 - position, data: xenkeep_disk::Data::Unchanged };
        sink.push(unchanged).await.unwrap();
        sink.push(Block::bytes(start as u64, vec![0xee; len].into())).await.unwrap();
        position = (start + len) as u64;
    }
    let unchanged = Block { offset: position, len: old_len as u64 - position, data: xenkeep_disk::Data::Unchanged };
    sink.push(unchanged).await.unwrap();
    sink.push(Block::zero(old_len as u64, 5_000_000)).await.unwrap();
    sink.finish().await.unwrap();
    let second = writer.commit(meta(1)).await.unwrap();
    assert!(restored(&fixture.reopened().await, &second).await == image);
    assert!(counters.new_bytes() < 10 * CHUNK as u64, "{}", counters.new_bytes());

    // The whole disk unchanged: the same tree, and nothing new.
    let base = fixture.repo.open_point(&second).await.unwrap().disk("0").await.unwrap();
    let (writer, counters) = begin(&fixture.repo).await;
    let mut sink = writer.disk_sink_over("0", new_len as u64, base).unwrap();
    sink.push(Block { offset: 0, len: new_len as u64, data: xenkeep_disk::Data::Unchanged }).await.unwrap();
    sink.finish().await.unwrap();
    let third = writer.commit(meta(2)).await.unwrap();
    assert_eq!(counters.new_bytes(), 0);
    assert!(restored(&fixture.repo, &third).await == image);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_must_follow_each_other_and_reach_the_end() {
    let fixture = Fixture::new().await;
    let (writer, _) = begin(&fixture.repo).await;
    let mut sink = writer.disk_sink("0", 100).unwrap();
    for bad in [Block::zero(1, 10), Block::zero(0, 101), Block { len: 5, ..Block::bytes(0, "four".into()) }] {
        assert!(matches!(sink.push(bad).await, Err(Error::Source(_))));
    }
    let unchanged = Block { offset: 0, len: 10, data: xenkeep_disk::Data::Unchanged };
    assert!(matches!(sink.push(unchanged).await, Err(Error::Invalid(_))));
    sink.push(Block::zero(0, 99)).await.unwrap();
    assert!(matches!(sink.finish().await, Err(Error::Source(_))));
    assert!(matches!(writer.disk_sink("0", 100), Err(Error::Invalid(_))), "a name is used once");
    assert!(matches!(writer.commit(meta(0)).await, Err(Error::Invalid(_))));
    assert!(fixture.repo.points().await.unwrap().is_empty());
}

#[tokio::test]
async fn points_are_listed_found_and_removed() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for number in [1, 0, 2] {
        ids.push(back_up(&fixture.repo, number, &image(number as u64, 1000)).await);
    }
    let points = fixture.repo.points().await.unwrap();
    assert_eq!(points.iter().map(|point| point.id).collect::<Vec<_>>(), [ids[1], ids[0], ids[2]]);
    assert_eq!((points[0].time, &points[0].root), (meta(0).time, &meta(0).root));
    assert_eq!((&points[0].tags, &points[0].host), (&meta(0).tags, &meta(0).host));
    assert_eq!(fixture.repo.find(&ids[2].short()).await.unwrap().id, ids[2]);
    assert!(matches!(fixture.repo.find("").await, Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 3));
    assert!(matches!(fixture.repo.find("zz").await, Err(Error::NotFound { .. })));

    fixture.repo.remove_point(&ids[0]).await.unwrap();
    assert!(matches!(fixture.repo.remove_point(&ids[0]).await, Err(Error::NotFound { .. })));
    assert!(matches!(fixture.repo.open_point(&ids[0]).await, Err(Error::NotFound { .. })));
    assert_eq!(restored(&fixture.repo, &ids[1]).await, image(0, 1000));
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let fixture = Fixture::new().await;
    let (writer, _) = begin(&fixture.repo).await;
    for bad in ["", "..", "a/b", "disks"] {
        assert!(matches!(writer.file(bad, "".into()).await, Err(Error::Invalid(_))), "{bad}");
    }
    assert!(matches!(writer.disk_sink("../0", 1), Err(Error::Invalid(_))));
    for root in ["lab/x", "/", "/lab//x", "/lab/../x", "/lab/x/"] {
        let (writer, _) = begin(&fixture.repo).await;
        let bad = writer.commit(Meta { root: root.into(), ..meta(0) }).await;
        assert!(matches!(bad, Err(Error::Invalid(_))), "{root}");
    }
    let odd = Meta { root: r#"/Pool "München" \1/vm"#.into(), ..meta(0) };
    let id = writer.commit(odd).await.unwrap();
    fixture.repo.open_point(&id).await.unwrap();
}

#[tokio::test]
async fn what_is_no_repository_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let open =
        async |path: &str| Repo::open(&temp.path().join(path), &password(), OpenOptions::default()).await.unwrap_err();
    assert!(matches!(open("absent").await, Error::NotARepository { .. }));
    assert!(matches!(open("").await, Error::NotARepository { .. }));
    std::fs::write(temp.path().join("config"), "something else").unwrap();
    assert!(matches!(open("").await, Error::NotARepository { .. }));
    std::fs::write(temp.path().join("file"), "").unwrap();
    let refused = Repo::create(temp.path(), &password(), options()).await.unwrap_err();
    assert!(matches!(refused, Error::NotEmpty { .. }), "{refused:?}");
    let wild = CreateOptions { chunk_bytes: 3, ..options() };
    assert!(matches!(Repo::create(&temp.path().join("new"), &password(), wild).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn a_wrong_password_is_told_from_damage() {
    let fixture = Fixture::new().await;
    let error = Repo::open(&fixture.dir(), &"wrong".into(), OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::WrongPassword { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong\""));
    assert_eq!(fixture.reopened().await.id(), fixture.repo.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_not_listed_but_found_again() {
    let fixture = Fixture::new().await;
    let image = image(3, 5 << 20);
    let (writer, counters) = begin(&fixture.repo).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(&image, 1))).await.unwrap();
    writer.abort().await;
    assert!(counters.new_bytes() > 0);
    assert!(fixture.repo.points().await.unwrap().is_empty());
    gone(&fixture.dir().join("locks")).await;

    let repo = fixture.reopened().await;
    let counters = Arc::new(xenkeep_repo::Counters::default());
    let writer = repo.begin(WriteOptions { counters: counters.clone() }).await.unwrap();
    writer.disk("0", image.len() as u64, stream_of(blocks(&image, 1))).await.unwrap();
    writer.commit(meta(0)).await.unwrap();
    assert_eq!(counters.new_bytes(), 0);
}
