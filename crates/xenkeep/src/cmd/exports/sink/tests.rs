#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;

use super::*;

async fn write(sink: Sink, pieces: &[&[u8]]) -> anyhow::Result<Written> {
    let mut running = sink.start();
    for piece in pieces {
        assert!(running.push(Bytes::copy_from_slice(piece)).await);
    }
    running.finish().await
}

/// A disk with data at both ends of a hole, odd bytes at block borders, and a hole at its end.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..5000].fill(1);
    disk[8191] = 2;
    disk[300_000..300_100].fill(3);
    disk[700_001] = 4;
    disk
}

#[tokio::test]
async fn a_sparse_file_holds_the_bytes_however_they_come() {
    let disk = disk();
    for piece in [1000, 4096, 4097, 65536, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/disk.raw");
        let pieces: Vec<&[u8]> = disk.chunks(piece).collect();
        let written = write(Sink::file(&path, false, true).unwrap(), &pieces).await.unwrap();
        assert_eq!(written.bytes, disk.len() as u64);
        assert_eq!(written.sha256, hex::encode(Sha256::digest(&disk)));
        assert!(!path.exists(), "no name before it is kept");
        written.keep().unwrap();
        assert!(std::fs::read(&path).unwrap() == disk, "in pieces of {piece}");
        let allocated = path.metadata().unwrap().blocks() * 512;
        if piece >= 4096 {
            assert!(allocated < 100_000, "{allocated} bytes are allocated");
        }
    }
}

#[tokio::test]
async fn an_empty_stream_gives_an_empty_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    write(Sink::file(&path, false, true).unwrap(), &[]).await.unwrap().keep().unwrap();
    assert_eq!(path.metadata().unwrap().len(), 0);
}

#[tokio::test]
async fn nothing_is_left_of_what_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.xva");
    drop(write(Sink::file(&path, false, false).unwrap(), &[b"half"]).await.unwrap());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_came_in_between_is_not_overwritten_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.xva");
    let written = write(Sink::file(&path, false, false).unwrap(), &[b"new"]).await.unwrap();
    std::fs::write(&path, "old").unwrap();
    let error = written.keep().unwrap_err();
    assert_eq!(error.downcast_ref::<Problem>().unwrap().code, "file.exists");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");

    let written = write(Sink::file(&path, true, false).unwrap(), &[b"new"]).await.unwrap();
    written.keep().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_that_can_t_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = Sink::file(&dir.path().join("file/sub/vm.xva"), false, false).err().unwrap();
    assert!(error.to_string().contains("file/sub can't be made"), "{error}");
}
