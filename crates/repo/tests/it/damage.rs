//! Whatever is damaged is found when it is read, and the error says where.

use std::fs;
use std::path::Path;

use xenkeep_repo::{Error, OpenOptions, Repo};

use crate::store::*;

/// Reads all of it, as a restore does.
async fn read_all(dir: &Path) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::error::Error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    };
    let repo = Repo::open(dir, &password(), OpenOptions::default()).await.map_err(|error| text(&error))?;
    let list = repo.scan().await.map_err(|error| text(&error))?;
    if let Some(damaged) = list.damaged.first() {
        return Err(text(&damaged.error));
    }
    let Some(id) = list.points.first().map(|point| point.id) else { return Err("no point".into()) };
    let point = repo.open_point(&id).await.map_err(|error| text(&error))?;
    point.file("point.json").await.map_err(|error| text(&error))?;
    let disk = point.disk("0").await.map_err(|error| text(&error))?;
    read_blocks(disk).await.map_err(|error| text(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_and_cut_files_are_found() {
    let fixture = Fixture::new().await;
    let image = image(3, 3 << 20);
    back_up(&fixture.repo, 0, &image).await;
    assert!(read_all(&fixture.dir()).await.unwrap() == image);
    let files: Vec<_> =
        files(&fixture.dir()).into_iter().filter(|path| !path.starts_with(fixture.dir().join("tmp"))).collect();
    assert_eq!(files.len(), 6, "config, key, snapshot, index, a pack of chunks, a pack of trees");
    for path in files {
        let good = fs::read(&path).unwrap();
        let shown = path.strip_prefix(fixture.dir()).unwrap().to_string_lossy().into_owned();
        let is_pack = shown.starts_with("data");
        // The header of a pack is not needed for reading.
        let header_len = |tail: &[u8; 4]| 4 + u32::from_le_bytes(*tail) as usize;
        let end = good.len() - good.last_chunk().filter(|_| is_pack).map_or(0, header_len);
        for at in (0..end).step_by((end / 7).max(1)) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            match read_all(&fixture.dir()).await {
                // Dates and names in a key file can be anything.
                Ok(_) => assert!(shown.starts_with("keys"), "bit {at} of {shown} went unnoticed"),
                Err(error) if is_pack => assert!(error.contains(&shown), "{error} does not name {shown}"),
                Err(_) => {}
            }
        }
        fs::write(&path, &good[..good.len() / 3]).unwrap();
        assert!(read_all(&fixture.dir()).await.is_err(), "{shown} was cut");
        fs::remove_file(&path).unwrap();
        assert!(read_all(&fixture.dir()).await.is_err(), "{shown} is missing");
        fs::write(&path, &good).unwrap();
    }
    assert!(read_all(&fixture.dir()).await.unwrap() == image);
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_packs_are_found() {
    let fixture = Fixture::new().await;
    back_up(&fixture.repo, 0, &image(3, 3 << 20)).await;
    let packs = files(&fixture.dir().join("data"));
    let contents: Vec<_> = packs.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::write(&packs[0], &contents[1]).unwrap();
    fs::write(&packs[1], &contents[0]).unwrap();
    assert!(read_all(&fixture.dir()).await.unwrap_err().contains("damaged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_hides_no_other() {
    let fixture = Fixture::new().await;
    let image = image(3, 1 << 20);
    let bad = back_up(&fixture.repo, 0, &image).await;
    let good = back_up(&fixture.repo, 1, &image).await;
    fs::write(fixture.dir().join(format!("snapshots/{bad}")), "rubbish").unwrap();
    let list = fixture.repo.scan().await.unwrap();
    assert_eq!(list.points.iter().map(|point| point.id).collect::<Vec<_>>(), [good]);
    assert_eq!(list.damaged.iter().map(|point| point.id).collect::<Vec<_>>(), [bad]);
    assert!(matches!(fixture.repo.open_point(&bad).await, Err(Error::Damaged { .. })));
    assert!(restored(&fixture.repo, &good).await == image);
    fixture.repo.remove_point(&bad).await.unwrap();
    assert!(fixture.repo.scan().await.unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_copy_is_read_where_one_is_damaged() {
    let fixture = Fixture::new().await;
    let image = image(3, 3 << 20);
    // Two processes that write at the same time know nothing of each other, so each stores all of it.
    let other = fixture.reopened().await;
    let (writers, disks) = ([begin(&fixture.repo).await.0, begin(&other).await.0], blocks(&image, 1));
    for (number, writer) in writers.into_iter().enumerate() {
        writer.disk("0", image.len() as u64, stream_of(disks.clone())).await.unwrap();
        writer.file("point.json", "{}".into()).await.unwrap();
        writer.commit(meta(number as i64)).await.unwrap();
    }
    let packs: Vec<_> = files(&fixture.dir().join("data"))
        .into_iter()
        .filter(|path| path.metadata().unwrap().len() > 100_000)
        .collect();
    assert_eq!(packs.len(), 2, "a pack of chunks of each");
    for pack in &packs {
        let good = fs::read(pack).unwrap();
        let mut bad = good.clone();
        bad[1000] ^= 1;
        fs::write(pack, bad).unwrap();
        assert!(read_all(&fixture.dir()).await.unwrap() == image);
        fs::remove_file(pack).unwrap();
        assert!(read_all(&fixture.dir()).await.unwrap() == image);
        let repo = fixture.reopened().await;
        let id = repo.points().await.unwrap()[0].id;
        let disk = repo.open_point(&id).await.unwrap().disk("0").await.unwrap();
        let mut piece = vec![0; 200_000];
        xenkeep_disk::DiskRead::read_at(&*disk, 1, &mut piece).await.unwrap();
        assert!(piece == image[1..200_001]);
        fs::write(pack, good).unwrap();
    }
    packs.iter().for_each(|pack| fs::remove_file(pack).unwrap());
    let error = read_all(&fixture.dir()).await.unwrap_err();
    assert!(error.contains("it is missing"), "{error}");
}
