#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;

use futures::{TryStreamExt, stream};
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

/// A sparse file with data at some places, and its whole contents.
fn sparse_file(path: &Path, size: u64, data: &[(u64, &[u8])]) -> Vec<u8> {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let mut whole = vec![0; size as usize];
    for (offset, bytes) in data {
        file.write_all_at(bytes, *offset).unwrap();
        whole[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    whole
}

async fn collect(blocks: Blocks, size: u64) -> (Vec<u8>, u64) {
    let blocks: Vec<_> = Gapless::new(blocks, size).try_collect().await.unwrap();
    let mut zeros = 0;
    let mut whole = Vec::new();
    for block in blocks {
        match block.data {
            Data::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Data::Zero => {
                zeros += block.len;
                whole.resize(whole.len() + block.len as usize, 0);
            }
            Data::Unchanged => panic!("unchanged"),
        }
    }
    (whole, zeros)
}

#[tokio::test]
async fn holes_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let size = 9 * MIB + 7;
    let whole = sparse_file(&path, size, &[(0, b"start"), (5 * MIB + 3, &[7; 2 << 20]), (size - 1, b"!")]);
    let disk = RawFile::open(&path).unwrap();
    assert_eq!(disk.size(), size);
    let (read, zeros) = collect(disk.clone().blocks(), size).await;
    assert!(read == whole);
    assert!(zeros >= 5 * MIB, "{zeros} bytes of zeros");
    let mut buf = vec![0; 1000];
    disk.read_at(5 * MIB - 500, &mut buf).await.unwrap();
    assert!(buf == whole[(5 * MIB - 500) as usize..][..1000]);
}

#[tokio::test]
async fn files_of_every_shape_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    for (size, data) in [
        (0, vec![]),
        (1, vec![]),
        (1, vec![(0, b"x".as_slice())]),
        (3 * MIB, vec![]),
        (3 * MIB, vec![(3 * MIB - 4096, [1; 4096].as_slice())]),
        (MIB + 1, vec![(0, [9; (1 << 20) + 1].as_slice())]),
    ] {
        let whole = sparse_file(&path, size, &data);
        let (read, _) = collect(RawFile::open(&path).unwrap().blocks(), size).await;
        assert!(read == whole, "{size} bytes");
    }
}

#[tokio::test]
async fn reads_outside_of_the_disk_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    sparse_file(&path, 100, &[]);
    let disk = RawFile::open(&path).unwrap();
    let mut buf = [0; 10];
    for offset in [91, 100, u64::MAX - 3] {
        assert!(matches!(disk.read_at(offset, &mut buf).await, Err(Error::OutOfRange { .. })));
    }
    disk.read_at(90, &mut buf).await.unwrap();
}

#[tokio::test]
async fn a_file_that_shrinks_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    sparse_file(&path, 4 * MIB, &[(0, &[1; 4 << 20])]);
    let disk = RawFile::open(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(MIB).unwrap();
    let result: Result<Vec<_>, _> = Gapless::new(disk.blocks(), 4 * MIB).try_collect().await;
    // Depending on what the file system says, the rest is a hole or missing; it must not hang or invent data.
    if let Ok(blocks) = result {
        assert!(blocks.iter().skip(1).all(|block| block.data == Data::Zero));
    }
    assert!(matches!(RawFile::open(&dir.path().join("none")), Err(Error::File { .. })));
}

fn blocks_of(blocks: Vec<Result<Block, Error>>) -> Blocks {
    stream::iter(blocks).boxed()
}

#[tokio::test]
async fn zeros_become_holes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, vec![0xff; 1 << 20]).unwrap();
    let size = 64 * MIB;
    let mut data = vec![0; 1 << 20];
    data[300_000] = 1;
    let blocks = vec![
        Ok(Block::zero(0, 10 * MIB)),
        Ok(Block::bytes(10 * MIB, data.clone().into())),
        Ok(Block::zero(11 * MIB, 53 * MIB)),
    ];
    let file = File::options().write(true).open(&path).unwrap();
    let written = write_sparse(blocks_of(blocks), size, file, &path).await.unwrap();
    assert_eq!(written.data_bytes, HOLE_BYTES as u64);
    let metadata = path.metadata().unwrap();
    assert_eq!(metadata.len(), size);
    assert!(metadata.blocks() * 512 < MIB, "{} bytes on disk", metadata.blocks() * 512);
    let mut whole = vec![0; size as usize];
    whole[(10 * MIB) as usize..(11 * MIB) as usize].copy_from_slice(&data);
    assert!(std::fs::read(&path).unwrap() == whole);
}

#[tokio::test]
async fn a_source_that_fails_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let cases = [
        vec![Ok(Block::zero(0, 5)), Err(Error::source("gone"))],
        vec![Ok(Block::zero(0, 5))],
        vec![Ok(Block::zero(1, 9))],
        vec![Ok(Block { offset: 0, len: 10, data: Data::Unchanged })],
    ];
    for blocks in cases {
        let file = File::create(&path).unwrap();
        assert!(write_sparse(blocks_of(blocks), 10, file, &path).await.is_err());
    }
    std::fs::write(&path, b"").unwrap();
    let read_only = File::open(&path).unwrap();
    let result = write_sparse(blocks_of(vec![Ok(Block::zero(0, 10))]), 10, read_only, &path).await;
    assert!(matches!(result, Err(Error::File { .. })), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_can_be_read(runs in proptest::collection::vec((1..200_000_usize, 0..3_u8), 0..12)) {
        let mut whole = Vec::new();
        let mut blocks = Vec::new();
        for (len, kind) in runs {
            let offset = whole.len() as u64;
            let bytes = vec![kind; len];
            whole.extend_from_slice(&bytes);
            blocks.push(Ok(if kind == 0 { Block::zero(offset, len as u64) } else { Block::bytes(offset, bytes.into()) }));
        }
        let size = whole.len() as u64;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("disk");
            write_sparse(blocks_of(blocks), size, File::create(&path).unwrap(), &path).await.unwrap();
            let (read, _) = collect(RawFile::open(&path).unwrap().blocks(), size).await;
            assert!(read == whole);
        });
    }
}
