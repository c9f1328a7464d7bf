//! qemu-img reads the images that we write, and we read those that it makes.

use std::path::PathBuf;

use xenkeep_disk::raw::RawFile;
use xenkeep_disk::vhd::{self, ImageId, Plan, Reader};
use xenkeep_disk::{DiskRead, raw::write_sparse};

use crate::{assert_equal, noise, run};

/// A disk with data, zeros and a last block that is not full.
fn contents() -> Vec<u8> {
    let mut disk = vec![0; (13 << 20) + 512 * 7];
    disk[..3 << 20].copy_from_slice(&noise(1, 3 << 20));
    disk[(7 << 20) + 4096..][..100_000].copy_from_slice(&noise(2, 100_000));
    let end = disk.len() - 512;
    disk[end..].fill(0xaa);
    disk
}

#[tokio::test]
async fn qemu_finds_our_images_equal() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("raw"), contents()).unwrap();
    let disk = RawFile::open(path("raw").as_ref()).unwrap();
    let mut plan = Plan::new(disk.size(), ImageId([3; 16])).unwrap();
    plan.include_data(&*disk).await.unwrap();
    let mut file = tokio::fs::File::create(path("vhd")).await.unwrap();
    let len = plan.write(disk.blocks(), &mut file).await.unwrap();
    assert_eq!(std::fs::metadata(path("vhd")).unwrap().len(), len);
    assert_equal(&path("raw"), "vpc", &path("vhd"));
}

#[tokio::test]
async fn images_of_qemu_hold_what_the_raw_disk_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let disk = contents();
    std::fs::write(path("raw"), &disk).unwrap();
    for kind in ["dynamic", "fixed"] {
        let (image, copy) = (path(kind), path("copy"));
        let options = format!("subformat={kind},force_size=on");
        run("qemu-img", &["convert", "-f", "raw", "-O", "vpc", "-o", &options, &path("raw"), &image]);
        let opened = vhd::open(&[PathBuf::from(&image)]).await.unwrap();
        let size = opened.size();
        assert_eq!(size, disk.len() as u64, "{kind}");
        write_sparse(opened.blocks(), size, std::fs::File::create(&copy).unwrap(), copy.as_ref()).await.unwrap();
        assert!(std::fs::read(&copy).unwrap() == disk, "{kind}");
    }
    let reader = Reader::open(tokio::fs::File::open(path("dynamic")).await.unwrap()).await.unwrap();
    let (size, copy) = (reader.head().size(), path("copy"));
    let blocks = reader.into_blocks();
    write_sparse(blocks, size, std::fs::File::create(&copy).unwrap(), copy.as_ref()).await.unwrap();
    assert!(std::fs::read(&copy).unwrap() == disk, "as a stream");
}
