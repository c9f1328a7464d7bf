//! qemu-img makes images of known contents; we read the same.

use std::fs::File;

use xenkeep_disk::raw::{RawFile, write_sparse};
use xenkeep_disk::{DiskRead, qcow2};

use crate::{noise, run};

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
