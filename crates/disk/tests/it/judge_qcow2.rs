//! qemu-img makes images of known contents; we read the same.

use std::fs::File;

use bytes::Bytes;
use futures::{StreamExt, stream};
use xenkeep_disk::qcow2::{self, Compression, Plan};
use xenkeep_disk::raw::{RawFile, write_sparse};
use xenkeep_disk::{Block, Blocks, DiskRead};

use crate::{assert_equal, noise, run};

/// A disk with data, zeros and a last cluster that is not full.
fn contents() -> Vec<u8> {
    let mut disk = vec![0; (11 << 20) + 512];
    disk[..3 << 20].copy_from_slice(&noise(1, 3 << 20));
    disk[4 << 20..][..1 << 20].fill(0x55);
    disk[(7 << 20) + 4096..][..100_000].copy_from_slice(&noise(2, 100_000));
    let end = disk.len() - 512;
    disk[end..].fill(0xaa);
    disk
}

#[tokio::test]
async fn images_of_qemu_hold_what_the_raw_disk_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let disk = contents();
    std::fs::write(path("raw"), &disk).unwrap();
    for (name, options) in [
        ("default", vec![]),
        ("old", vec!["-o", "compat=0.10"]),
        ("compressed", vec!["-c"]),
        ("small-clusters", vec!["-o", "cluster_size=4096"]),
        ("large-clusters", vec!["-o", "cluster_size=2M"]),
        ("subclusters", vec!["-o", "preallocation=metadata"]),
    ] {
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options);
        let (raw, image, copy) = (path("raw"), path(name), path("copy"));
        arguments.extend([raw.as_str(), image.as_str()]);
        run("qemu-img", &arguments);
        let opened = qcow2::open(image.as_ref()).await.unwrap();
        assert_eq!(opened.size(), disk.len() as u64, "{name}");
        let size = opened.size();
        write_sparse(opened.blocks(), size, File::create(&copy).unwrap(), copy.as_ref()).await.unwrap();
        assert!(std::fs::read(&copy).unwrap() == disk, "{name}");
    }
}

#[tokio::test]
async fn qemu_finds_our_sparse_copies_equal() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("raw"), contents()).unwrap();
    let disk = RawFile::open(path("raw").as_ref()).unwrap();
    let (size, copy) = (disk.size(), path("copy"));
    write_sparse(disk.blocks(), size, File::create(&copy).unwrap(), copy.as_ref()).await.unwrap();
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &path("raw"), &copy]);
}

#[tokio::test]
async fn qemu_finds_our_images_equal_and_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut contents = contents();
    // Much in little: many clusters share one of the image.
    for cluster in contents[4 << 20..7 << 20].chunks_mut(65536) {
        cluster.fill(0x77);
        cluster[..8].copy_from_slice(&noise(5, 8));
    }
    std::fs::write(path("dense"), &contents).unwrap();
    let dense = RawFile::open(path("dense").as_ref()).unwrap();
    let size = dense.size();
    let raw = File::create(path("raw")).unwrap();
    write_sparse(dense.blocks(), size, raw, path("raw").as_ref()).await.unwrap();
    let disk = RawFile::open(path("raw").as_ref()).unwrap();
    for compression in [None, Some(Compression::Zstd), Some(Compression::Zlib)] {
        let plan = match compression {
            Some(compression) => Plan::compressed(size, disk.clone().blocks(), compression).await.unwrap(),
            None => {
                let mut plan = Plan::new(size).unwrap();
                plan.include_data(&*disk).await.unwrap();
                plan
            }
        };
        let mut file = tokio::fs::File::create(path("image")).await.unwrap();
        let len = plan.write(disk.clone().blocks(), &mut file).await.unwrap();
        assert_eq!(std::fs::metadata(path("image")).unwrap().len(), len, "{compression:?}");
        run("qemu-img", &["check", "-f", "qcow2", &path("image")]);
        assert_equal(&path("raw"), "qcow2", &path("image"));
        let limit = if compression.is_some() { 4 << 20 } else { 7 << 20 };
        assert!(len < limit, "{compression:?}: {len}");
    }
}

/// A disk with some bytes at a few places.
fn sparse(size: u64, places: &[(u64, Vec<u8>)]) -> Blocks {
    let (mut at, mut blocks) = (0, Vec::new());
    for (offset, bytes) in places {
        blocks.push(Ok(Block::zero(at, offset - at)));
        blocks.push(Ok(Block::bytes(*offset, Bytes::from(bytes.clone()))));
        at = offset + bytes.len() as u64;
    }
    blocks.push(Ok(Block::zero(at, size - at)));
    stream::iter(blocks).boxed()
}

#[tokio::test]
async fn a_huge_sparse_disk_makes_a_small_sound_image() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let size = 3_u64 << 40;
    let places = [(5_u64, noise(1, 100_000)), (1 << 40, noise(2, 1 << 20)), (size - 7, vec![1; 7])];
    let raw = File::create(path("raw")).unwrap();
    raw.set_len(size).unwrap();
    for (offset, bytes) in &places {
        std::os::unix::fs::FileExt::write_all_at(&raw, bytes, *offset).unwrap();
    }
    let mut whole = Plan::new(size).unwrap();
    for (offset, bytes) in &places {
        whole.include(*offset..offset + bytes.len() as u64);
    }
    let packed = Plan::compressed(size, sparse(size, &places), Compression::Zstd).await.unwrap();
    for plan in [whole, packed] {
        let mut file = tokio::fs::File::create(path("image")).await.unwrap();
        let len = plan.write(sparse(size, &places), &mut file).await.unwrap();
        assert!(len < 20 << 20, "{len}");
        run("qemu-img", &["check", "-f", "qcow2", &path("image")]);
        assert_equal(&path("raw"), "qcow2", &path("image"));
    }
}
