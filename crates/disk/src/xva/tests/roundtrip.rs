use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A disk as runs of one byte each: zeros are likely, and so are whole chunks.
fn disk() -> impl Strategy<Value = Vec<(usize, u8)>> {
    let len = prop_oneof![1..2000_usize, 1..2 * MIB, Just(MIB), Just(512), Just(MIB - 1)];
    proptest::collection::vec((len, prop_oneof![Just(0), 0..4_u8]), 0..5)
}

fn expand(runs: &[(usize, u8)]) -> Vec<u8> {
    runs.iter().flat_map(|(len, byte)| std::iter::repeat_n(*byte, *len)).collect()
}

async fn write(disks: &[Vec<(usize, u8)>], checksum: Checksum, keepalives: bool) -> Vec<u8> {
    let ids: Vec<_> = (0..disks.len()).map(|at| format!("Ref:{at}")).collect();
    let sizes: Vec<_> = ids.iter().zip(disks).map(|(id, runs)| (id.as_str(), expand(runs).len())).collect();
    let mut writer = Writer::new(Vec::new(), ova_xml(&sizes).as_bytes(), checksum).await.unwrap();
    for ((id, size), runs) in sizes.iter().zip(disks) {
        writer.begin(id, *size as u64).unwrap();
        let mut offset = 0;
        for (len, byte) in runs {
            if keepalives {
                writer.keepalive().await.unwrap();
            }
            match byte {
                0 => writer.push(Block::zero(offset, *len as u64)).await.unwrap(),
                _ => writer.push(Block::bytes(offset, vec![*byte; *len].into())).await.unwrap(),
            }
            offset += *len as u64;
        }
        writer.end().unwrap();
    }
    writer.finish().await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_written_can_be_read(
        disks in proptest::collection::vec(disk(), 0..4),
        sha1 in any::<bool>(),
        keepalives in any::<bool>(),
        compression in prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let checksum = if sha1 { Checksum::Sha1 } else { Checksum::Xxhash };
            let archive = write(&disks, checksum, keepalives).await;
            let archive = match compression {
                Compression::None => archive,
                Compression::Gzip => gzip(&archive).await,
                Compression::Zstd => zstd(&archive).await,
            };
            let expected: Vec<_> = disks.iter().map(|runs| expand(runs)).collect();
            // XenServer's own rule for gaps must lead to the same disks, whatever we write.
            let rules = [GapRule::OfDisk, GapRule::OfArchive];
            for rule in rules {
                assert!(read_with(&archive, rule).await.unwrap() == expected, "{rule:?}");
            }
        });
    }
}

#[tokio::test]
async fn several_members_of_a_compressed_stream_are_one() {
    let disk = vec![7; 3000];
    let archive = archive(&[("Ref:1", &disk)], Checksum::Xxhash).await;
    let (first, second) = archive.split_at(1500);
    for compressed in [[gzip(first).await, gzip(second).await], [zstd(first).await, zstd(second).await]] {
        assert!(read(&compressed.concat()).await.unwrap() == [disk.clone()]);
    }
}

/// A stream that gives one byte at a time.
struct Drip<'a>(&'a [u8]);

impl tokio::io::AsyncRead for Drip<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let (byte, rest) = self.0.split_at(self.0.len().min(1));
        buf.put_slice(byte);
        self.0 = rest;
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn bytes_may_come_one_by_one() {
    let disk = vec![7; 3000];
    let plain = archive(&[("Ref:1", &disk)], Checksum::Sha1).await;
    for archive in [&plain, &gzip(&plain).await, &zstd(&plain).await] {
        let mut reader = Reader::open(Drip(archive)).await.unwrap();
        let next = reader.next().await.unwrap().unwrap();
        assert_eq!(next, DiskBlock { disk: 0, block: Block::bytes(0, disk.clone().into()) });
        reader.finish().await.unwrap();
    }
}

#[tokio::test]
async fn finish_reads_what_is_left() {
    let archive = archive(&[("Ref:1", &[1; 3 * MIB]), ("Ref:2", &[2; 5])], Checksum::Xxhash).await;
    let reader = Reader::open(archive.as_slice()).await.unwrap();
    reader.finish().await.unwrap();
}

#[tokio::test]
async fn the_description_comes_as_it_was_written() {
    let archive = archive(&[("Ref:1", &[1; 10])], Checksum::Xxhash).await;
    let reader = Reader::open(archive.as_slice()).await.unwrap();
    assert_eq!(reader.ova_xml(), ova_xml(&[("Ref:1", 10)]).as_bytes());
    assert_eq!(reader.disks()[0].virtual_size, 10);
    assert_eq!(reader.ova().of_class("VDI").count(), 1);
    let metadata = metadata(reader.ova_xml());
    let ova = Reader::open(&*metadata).await.unwrap().into_ova();
    assert_eq!(ova.disks().unwrap().len(), 1);
}

/// A connection that breaks after some bytes.
fn breaking(bytes: &[u8], kind: std::io::ErrorKind) -> impl tokio::io::AsyncRead + Unpin + Send {
    let pieces = [Ok(Bytes::copy_from_slice(bytes)), Err(std::io::Error::from(kind))];
    tokio_util::io::StreamReader::new(stream::iter(pieces))
}

#[tokio::test]
async fn broken_connections_are_told_from_ends() {
    let plain = archive(&[("Ref:1", &[7; 3000])], Checksum::Xxhash).await;
    for archive in [&plain, &gzip(&plain).await, &zstd(&plain).await] {
        for cut in [2, archive.len() / 2, archive.len()] {
            let broken = async |kind| Reader::open(breaking(&archive[..cut], kind)).await?.finish().await;
            let reset = broken(std::io::ErrorKind::ConnectionReset).await;
            assert!(matches!(reset, Err(Error::Stream(_))), "{reset:?}");
            // What TLS says if it was not closed properly is an end like any other.
            let ended = broken(std::io::ErrorKind::UnexpectedEof).await;
            match cut == archive.len() {
                true => ended.unwrap(),
                false => assert!(matches!(ended, Err(Error::Truncated { .. })), "{ended:?}"),
            }
        }
    }
}
