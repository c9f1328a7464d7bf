#![allow(clippy::unwrap_used)]

use std::process::Command;

use futures::TryStreamExt;

use super::*;
use crate::{Data, Gapless};

fn qemu_img(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed (qemu-utils)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A small image with a few clusters of data.
fn sample(dir: &Path) -> (PathBuf, Vec<u8>) {
    let (raw, image) = (dir.join("raw"), dir.join("image"));
    let mut whole = vec![0; 3 << 20];
    whole[..100_000].fill(0x11);
    whole[1 << 20..][..70_000].fill(0x22);
    *whole.last_mut().unwrap() = 0x33;
    std::fs::write(&raw, &whole).unwrap();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap(), image.to_str().unwrap()]);
    (image, whole)
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let disk = open(path).await?;
    let size = disk.size();
    let blocks: Vec<_> = Gapless::new(disk.blocks(), size).try_collect().await?;
    let mut whole = Vec::new();
    for block in blocks {
        match block.data {
            Data::Bytes(bytes) => whole.extend_from_slice(&bytes),
            _ => whole.resize(whole.len() + block.len as usize, 0),
        }
    }
    Ok(whole)
}

#[tokio::test]
async fn images_that_need_more_than_themselves_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _) = sample(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let base = base.to_str().unwrap().to_owned();
    qemu_img(&["create", "-f", "qcow2", "-F", "qcow2", "-b", &base, &path("overlay")]);
    let data_file = format!("data_file={},data_file_raw=on", path("data"));
    qemu_img(&["create", "-f", "qcow2", "-o", &data_file, &path("external"), "1M"]);
    let secret = "secret,id=s,data=password";
    let luks = "encrypt.format=luks,encrypt.key-secret=s";
    qemu_img(&["create", "--object", secret, "-f", "qcow2", "-o", luks, &path("encrypted"), "1M"]);
    qemu_img(&["create", "-f", "qcow2", "-o", "compression_type=zstd", &path("zstd"), "1M"]);
    for name in ["overlay", "external", "encrypted", "zstd"] {
        let result = open(Path::new(&path(name))).await.map(|_| ());
        assert!(matches!(result, Err(Error::Unsupported(_))), "{name}: {result:?}");
    }
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    for contents in [b"".as_slice(), b"QFI\xfb", &[0; 4096]] {
        std::fs::write(&path, contents).unwrap();
        assert!(open(&path).await.is_err());
    }
    assert!(matches!(open(&dir.path().join("none")).await, Err(Error::File { .. })));
}

#[tokio::test]
async fn damaged_images_never_bring_us_down() {
    let dir = tempfile::tempdir().unwrap();
    let (image, whole) = sample(dir.path());
    assert!(read(&image).await.unwrap() == whole);
    let intact = std::fs::read(&image).unwrap();
    let broken = dir.path().join("broken");
    // The header, and the first entries of the tables, which start at a cluster each.
    let places = (0..112).chain((1..6).flat_map(|cluster| (0..16).map(move |at| cluster * 65536 + at)));
    for at in places {
        for value in [0, 0x7f, 0xff] {
            let mut bytes = intact.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            std::fs::write(&broken, bytes).unwrap();
            // A giant size makes a giant hole, not a giant buffer.
            if let Ok(disk) = open(&broken).await
                && disk.size() <= 64 << 20
            {
                let _ = read(&broken).await;
            }
        }
    }
    for len in (0..intact.len()).step_by(4099) {
        std::fs::write(&broken, &intact[..len]).unwrap();
        if let Ok(bytes) = read(&broken).await {
            assert_eq!(bytes.len(), whole.len());
        }
    }
}

#[tokio::test]
async fn reads_at_any_place_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (image, whole) = sample(dir.path());
    let disk = open(&image).await.unwrap();
    for (offset, len) in [(0, 1), (99_990, 20), (0, whole.len()), ((1 << 20) - 5, 80_000), (whole.len() - 1, 1)] {
        let mut buf = vec![0xee; len];
        disk.read_at(offset as u64, &mut buf).await.unwrap();
        assert!(buf == whole[offset..][..len], "{len} bytes at {offset}");
    }
    let result = disk.read_at(whole.len() as u64, &mut [0]).await;
    assert!(matches!(result, Err(Error::OutOfRange { .. })));
}

mod planned {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    /// Blocks of these lengths; every other one holds a byte.
    fn blocks(lens: &[(u64, u8)]) -> Blocks {
        let mut offset = 0;
        let mut blocks = Vec::new();
        for (len, byte) in lens {
            let block = match byte {
                0 => Block::zero(offset, *len),
                byte => Block::bytes(offset, Bytes::from(vec![*byte; *len as usize])),
            };
            offset = block.end();
            blocks.push(Ok(block));
        }
        stream::iter(blocks).boxed()
    }

    fn contents(lens: &[(u64, u8)]) -> Vec<u8> {
        lens.iter().flat_map(|(len, byte)| std::iter::repeat_n(*byte, *len as usize)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_written_is_read(lens in prop::collection::vec((1..200_000_u64, 0..3_u8), 1..20), zlib: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let size = lens.iter().map(|(len, _)| len).sum();
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("image");
                let mut plan = if zlib {
                    Plan::compressed(size, blocks(&lens), Compression::Zlib).await.unwrap()
                } else {
                    Plan::new(size).unwrap()
                };
                let mut at = 0;
                for (len, byte) in lens.iter().filter(|_| !zlib) {
                    if *byte != 0 {
                        plan.include(at..at + len);
                    }
                    at += len;
                }
                let mut file = tokio::fs::File::create(&path).await.unwrap();
                let total = plan.write(blocks(&lens), &mut file).await.unwrap();
                assert_eq!(std::fs::metadata(&path).unwrap().len(), total);
                assert!(read(&path).await.unwrap() == contents(&lens));
            });
        }
    }

    #[tokio::test]
    async fn a_disk_that_has_changed_is_refused() {
        let (before, after) = ([(1 << 20, 1), (100, 0)], [(1 << 20, 0), (100, 5)]);
        let size = (1 << 20) + 100;
        let mut plan = Plan::new(size).unwrap();
        plan.include(0..1 << 20);
        let wrong = plan.write(blocks(&after), &mut Vec::new()).await;
        assert!(matches!(wrong, Err(Error::Damaged(_))));
        let plan = Plan::compressed(size, blocks(&before), Compression::Zstd).await.unwrap();
        let wrong = plan.write(blocks(&after), &mut Vec::new()).await;
        assert!(matches!(wrong, Err(Error::Damaged(_))));
        let plan = Plan::compressed(size, blocks(&after), Compression::Zstd).await.unwrap();
        let short = plan.write(blocks(&after[..1]), &mut Vec::new()).await;
        assert!(short.is_err());
    }
}
