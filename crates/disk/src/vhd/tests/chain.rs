use std::path::PathBuf;

use super::*;

fn with_id(mut image: Vec<u8>, id: ImageId) -> Vec<u8> {
    let footer = image.len() - 512;
    for at in [0, footer] {
        image[at + 68..at + 84].copy_from_slice(&id.0);
        let sum = checksum(&image[at..at + 512], 64);
        image[at + 64..at + 68].copy_from_slice(&sum.to_be_bytes());
    }
    image
}

fn put(dir: &tempfile::TempDir, name: &str, image: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, image).unwrap();
    path
}

fn id(byte: u8) -> ImageId {
    ImageId([byte; 16])
}

/// Three layers, of which the newest is the longest disk.
async fn three(dir: &tempfile::TempDir) -> (Vec<PathBuf>, Vec<u8>) {
    let base = [Run::Bytes(9000, 1), Run::Zero(10_000)];
    let middle = [Run::Unchanged(100), Run::Bytes(50, 2), Run::Unchanged(10_000), Run::Zero(1), Run::Unchanged(8849)];
    let newest = [Run::Unchanged(120), Run::Bytes(1, 3), Run::Unchanged(18_879), Run::Unchanged(5000)];
    let images = [
        with_id(image(plan(&base, None), &base).await, id(1)),
        with_id(image(plan(&middle, Some(id(1))), &middle).await, id(2)),
        with_id(image(plan(&newest, Some(id(2))), &newest).await, id(3)),
    ];
    let disk = contents(&newest, &contents(&middle, &contents(&base, &[])));
    let paths = ["a.vhd", "b.vhd", "c.vhd"].iter().zip(&images).map(|(name, image)| put(dir, name, image));
    (paths.collect(), disk)
}

#[tokio::test]
async fn a_chain_is_put_in_order_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, disk) = three(&dir).await;
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let opened = open(&order.map(|at: usize| paths[at].clone())).await.unwrap();
        assert_eq!(opened.files(), 3);
        assert!(read_disk(opened).await == disk);
    }
}

#[tokio::test]
async fn what_is_no_chain_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, _) = three(&dir).await;
    let missing = open(&[paths[0].clone(), paths[2].clone()]).await.unwrap_err().to_string();
    assert!(missing.contains("one chain"), "{missing}");
    let missing = open(&paths[1..]).await.unwrap_err().to_string();
    assert!(missing.contains("parent 01010101-0101-") && missing.contains("parent.vhd"), "{missing}");
    assert!(missing.contains("b.vhd"), "{missing}");
    let twice = open(&[paths[0].clone(), paths[0].clone()]).await.unwrap_err().to_string();
    assert!(twice.contains("twice"), "{twice}");
    // Its own parent, and two who are each other's.
    let runs = [Run::Bytes(1, 1)];
    let own = put(&dir, "own.vhd", &with_id(image(plan(&runs, Some(id(9))), &runs).await, id(9)));
    assert!(open(std::slice::from_ref(&own)).await.is_err());
    let left = put(&dir, "left.vhd", &with_id(image(plan(&runs, Some(id(8))), &runs).await, id(7)));
    let right = put(&dir, "right.vhd", &with_id(image(plan(&runs, Some(id(7))), &runs).await, id(8)));
    assert!(open(&[left.clone(), right.clone()]).await.is_err());
    assert!(open(&[paths[0].clone(), left, right]).await.is_err());
    assert!(open(&[]).await.is_err());
}

#[tokio::test]
async fn a_fixed_image_is_the_disk_and_a_footer() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Vec<u8> = (0..3_000_000_u32 / 512 * 512).map(|at| (at / 1000) as u8).collect();
    let footer = footer::Footer {
        kind: footer::Type::Fixed,
        header_at: u64::MAX,
        created: 0,
        creator: *b"test",
        size: disk.len() as u64,
        id: ID,
    };
    let image = [&disk[..], &footer.to_bytes()].concat();
    let path = put(&dir, "fixed.vhd", &image);
    assert!(read_disk(open(&[path]).await.unwrap()).await == disk);
    let path = put(&dir, "short.vhd", &image[512..]);
    assert!(matches!(open(&[path]).await, Err(Error::Truncated { .. })));
    assert!(matches!(Reader::open(&footer.to_bytes()[..]).await.map(drop), Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn a_lost_footer_is_taken_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [Run::Bytes(5000, 1)];
    let mut bytes = image(plan(&runs, None), &runs).await;
    let len = bytes.len();
    bytes[len - 512..].fill(0);
    let disk = open(&[put(&dir, "crashed.vhd", &bytes)]).await.unwrap();
    assert!(read_disk(disk).await == contents(&runs, &[]));
    assert!(read_stream(&bytes, &[]).await.is_err(), "in a stream it is what says that all has come");
    let vhdx = [&b"vhdxfile"[..], &[0; 4096]].concat();
    let error = open(&[put(&dir, "disk.vhdx", &vhdx)]).await.unwrap_err().to_string();
    assert!(error.contains("VHDX"), "{error}");
}
